// Command main submits audio to hearken as a task, and prints the answer while it arrives.
//
//	HEARKEN_API_KEY=sk-... go run main.go AUDIO [MODEL] [PROMPT]
//
// AUDIO is a file or an http(s) URL. HEARKEN_URL is the server (default: http://127.0.0.1:8080). The answer goes to
// standard output; reasoning and messages go to standard error. The exit status is 0 if the task completes, else 1.
// Ctrl-C cancels the task. Needs Go 1.19 and only the standard library.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

const (
	// A connection that is silent for this long is lost: hearken sends a keep-alive every 15 seconds in a stream, and
	// answers any other request of this program after 60 seconds at the latest.
	silence = 90 * time.Second
	// How often one request is repeated before the program gives up.
	maxRetries = 8
	// The code of a request that got no answer. All other codes are hearken's.
	connection = "connection"
)

// The codes of failures that end by themselves.
var temporary = map[string]bool{
	connection: true, "idempotency_conflict": true, "queue_full": true, "rate_limit_exceeded": true,
	"shutting_down": true, "storage_full": true, "storage_unavailable": true,
}

// Failure is an error of hearken's.
type Failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// True if another submit of the same task may succeed.
	Retryable  bool `json:"retryable"`
	retryAfter time.Duration
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

func lost(err error) *Failure {
	return &Failure{Code: connection, Message: "the connection was lost (" + err.Error() + ")"}
}

// TaskFailed says that a task has failed. Repeating a request does not change that.
type TaskFailed struct{ *Failure }

// Task is the state of a task.
type Task struct {
	ID      string               `json:"id"`
	Status  string               `json:"status"`
	Stream  struct{ URL string } `json:"stream"`
	Results []Completion         `json:"results"`
	Failure *Failure             `json:"error"`
}

// Completion is OpenAI's ChatCompletion or, with a delta in place of the message, a chunk of it.
type Completion struct {
	Choices []struct {
		Message      Text   `json:"message"`
		Delta        Text   `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Usage struct {
		TotalTokens int `json:"total_tokens"`
	} `json:"usage"`
}

// Text is a part of an answer. A model that refuses to answer says so in Refusal.
type Text struct {
	Content   string `json:"content"`
	Refusal   string `json:"refusal"`
	Reasoning string `json:"reasoning_content"`
}

// Client sends requests to one server.
type Client struct{ server, key string }

// Request is a request that can be sent several times.
type Request struct {
	method, path string
	headers      map[string]string
	body         []byte
}

// send sends one request. It returns the response, whose body is not read yet.
func (c *Client) send(ctx context.Context, request Request) (*http.Response, error) {
	sent, err := http.NewRequestWithContext(ctx, request.method, c.server+request.path, bytes.NewReader(request.body))
	if err != nil {
		return nil, err
	}
	sent.Header.Set("Authorization", "Bearer "+c.key)
	if request.body != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	for name, value := range request.headers {
		sent.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(sent)
	if err != nil {
		return nil, lost(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	var answer struct {
		Error Failure `json:"error"`
	}
	// This is not hearken's answer: a proxy in front of it could not reach it.
	if json.NewDecoder(response.Body).Decode(&answer) != nil || answer.Error.Code == "" {
		return nil, lost(errors.New("HTTP status " + response.Status))
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	answer.Error.retryAfter = time.Duration(seconds) * time.Second
	return nil, &answer.Error
}

// pause waits before the next attempt. It returns the error again if another attempt is useless.
func pause(ctx context.Context, err error, retries int) error {
	var failure *Failure
	if !errors.As(err, &failure) || !temporary[failure.Code] || retries == maxRetries || ctx.Err() != nil {
		return err
	}
	wait := failure.retryAfter
	if wait == 0 {
		wait = time.Duration(math.Min(math.Pow(2, float64(retries)), 30)) * time.Second
	}
	fmt.Fprintf(os.Stderr, "%v; trying again in %v\n", err, wait)
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// persist sends a request until it has an answer, which is a task.
func (c *Client) persist(ctx context.Context, request Request) (*Task, error) {
	for retries := 0; ; retries++ {
		task, err := c.once(ctx, request)
		if err == nil {
			return task, nil
		}
		if err := pause(ctx, err, retries); err != nil {
			return nil, err
		}
	}
}

func (c *Client) once(ctx context.Context, request Request) (*Task, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	response, err := c.send(ctx, request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var task Task
	if err := json.NewDecoder(response.Body).Decode(&task); err != nil {
		return nil, lost(err)
	}
	return &task, nil
}

// submit submits the task. However often the request is sent, the key makes it one task.
func (c *Client) submit(ctx context.Context, audio, model, prompt string) (*Task, error) {
	body, err := json.Marshal(map[string]any{
		"model": model, "audio_url": audio, "prompt": prompt, "stream": true, "reasoning": true,
	})
	if err != nil {
		return nil, err
	}
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	headers := map[string]string{"Idempotency-Key": fmt.Sprintf("%x", key)}
	return c.persist(ctx, Request{"POST", "/v1/llm/generations", headers, body})
}

// follow passes on every chunk of the task's answer once, over as many connections as it takes.
func (c *Client) follow(ctx context.Context, task *Task, show func(Text)) error {
	headers := map[string]string{}
	retries := 0
	for {
		err := c.listen(ctx, task, headers, func(text Text) {
			retries = 0
			show(text)
		})
		var failure *Failure
		switch {
		case err == nil:
			return nil
		case errors.As(err, &failure) && failure.Code == "stream_expired":
			// The chunks are no longer kept, but the result is.
			return nil
		}
		if err := pause(ctx, err, retries); err != nil {
			return err
		}
		retries++
	}
}

// listen reads one connection to the stream. It keeps the number of the last chunk in the headers of the next request.
func (c *Client) listen(ctx context.Context, task *Task, headers map[string]string, show func(Text)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(silence, cancel)
	defer timer.Stop()
	response, err := c.send(ctx, Request{"GET", task.Stream.URL, headers, nil})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// hearken's events have one line of data each. An empty line ends an event.
	event := map[string]string{}
	for lines := bufio.NewReader(response.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return lost(err)
		}
		timer.Reset(silence)
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			// The name of a comment (a keep-alive) is empty.
			name, value, _ := strings.Cut(line, ":")
			event[name] = strings.TrimPrefix(value, " ")
			continue
		}
		switch event["event"] {
		case "chunk":
			var chunk Completion
			if err := json.Unmarshal([]byte(event["data"]), &chunk); err != nil {
				return err
			}
			headers["Last-Event-ID"] = event["id"]
			show(chunk.Choices[0].Delta)
		case "done":
			return nil
		case "error":
			var last struct {
				Error Failure `json:"error"`
			}
			if err := json.Unmarshal([]byte(event["data"]), &last); err != nil {
				return err
			}
			return TaskFailed{&last.Error}
		}
		event = map[string]string{}
	}
}

// result waits until the task ends. It returns the task's result.
func (c *Client) result(ctx context.Context, task *Task) (*Completion, error) {
	for {
		state, err := c.persist(ctx, Request{method: "GET", path: "/v1/tasks/" + task.ID + "?wait=60"})
		switch {
		case err != nil:
			return nil, err
		case state.Status == "completed":
			return &state.Results[0], nil
		case state.Status == "failed":
			return nil, TaskFailed{state.Failure}
		}
	}
}

func run(ctx context.Context, client *Client, audio, model, prompt string) error {
	if !strings.HasPrefix(audio, "http://") && !strings.HasPrefix(audio, "https://") {
		content, err := os.ReadFile(audio)
		if err != nil {
			return err
		}
		// hearken recognises the format by the bytes.
		audio = "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(content)
	}
	task, err := client.submit(ctx, audio, model, prompt)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "task", task.ID)
	var text strings.Builder
	isThinking := false
	err = client.follow(ctx, task, func(delta Text) {
		if delta.Reasoning != "" {
			isThinking = true
			fmt.Fprint(os.Stderr, delta.Reasoning)
		}
		if piece := delta.Content + delta.Refusal; piece != "" {
			if isThinking {
				fmt.Fprintln(os.Stderr)
			}
			isThinking = false
			text.WriteString(piece)
			io.WriteString(os.Stdout, piece)
		}
	})
	var completion *Completion
	if err == nil {
		completion, err = client.result(ctx, task)
	}
	if ctx.Err() != nil {
		_, err := client.persist(context.Background(), Request{method: "POST", path: "/v1/tasks/" + task.ID + "/cancel"})
		if err != nil {
			return err
		}
		return errors.New("cancelled")
	}
	if err != nil {
		return err
	}
	answer := completion.Choices[0]
	fmt.Println(strings.TrimPrefix(answer.Message.Content+answer.Message.Refusal, text.String()))
	fmt.Fprintf(os.Stderr, "completed (%s), %d tokens\n", answer.FinishReason, completion.Usage.TotalTokens)
	return nil
}

func main() {
	client := &Client{"http://127.0.0.1:8080", os.Getenv("HEARKEN_API_KEY")}
	if server := os.Getenv("HEARKEN_URL"); server != "" {
		client.server = strings.TrimSuffix(server, "/")
	}
	if client.key == "" || len(os.Args) < 2 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: HEARKEN_API_KEY=sk-... go run main.go AUDIO [MODEL] [PROMPT]")
		os.Exit(1)
	}
	audio, model, prompt := os.Args[1], "local-inspect", "Please transcribe this audio file"
	if len(os.Args) > 2 {
		model = os.Args[2]
	}
	if len(os.Args) > 3 {
		prompt = os.Args[3]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, client, audio, model, prompt); err != nil {
		fmt.Fprintln(os.Stderr, "\nerror:", err)
		os.Exit(1)
	}
}
