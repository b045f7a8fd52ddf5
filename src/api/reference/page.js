// Starts Swagger UI on this server's own document. A key that is typed in stays in the memory of this tab.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  // All schemas stand folded below the operations, which show those they use.
  defaultModelsExpandDepth: 0,
  // As curl lines, too.
  requestSnippetsEnabled: true,
  // The badge that asks a server of its makers about the document.
  validatorUrl: null,
});
