// Starts Swagger UI with this server's own document. An API key that is entered stays in the memory of this tab.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  // All schemas are folded below the operations. Each operation shows the schemas that it uses.
  defaultModelsExpandDepth: 0,
  // Also shows requests as curl commands.
  requestSnippetsEnabled: true,
  // Turns off a badge that would send the document's address to a server of Swagger UI's makers.
  validatorUrl: null,
});
