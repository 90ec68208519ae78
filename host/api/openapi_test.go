package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tenement/ten/reconcile/plan"
)

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestDocumentAndHandlersAgree: every address is in the document, every one in
// the document answers, and whatever is answered is what the document says.
func TestDocumentAndHandlersAgree(t *testing.T) {
	t.Parallel()
	doc := loadDocument(t)
	described := map[string]*openapi3.Operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described[method+" "+path] = op
		}
	}
	f := openFront(t, &world{})
	var served []string
	for _, rt := range f.server.routes() {
		if strings.Contains(rt.pattern, " /v1/") || rt.pattern == "/" {
			continue // what ten itself asks is not promised to others
		}
		served = append(served, rt.pattern)
		op := described[rt.pattern]
		if op == nil {
			t.Errorf("%s is in no document", rt.pattern)
			continue
		}
		method, target, body := f.request(t, rt.pattern)
		f.agrees(t, op, method, target, "admin", body)
		f.agrees(t, op, method, target, "prod", body)
		f.agrees(t, op, method, target, "acme", body)
		f.agrees(t, op, method, target, "", body)
		if body != "" {
			f.agrees(t, op, method, target, "admin", `{"no": 1}`)
		}
	}
	slices.Sort(served)
	if want := slices.Sorted(maps.Keys(described)); !slices.Equal(served, want) {
		t.Errorf("served\n%s\ndescribed\n%s", strings.Join(served, "\n"), strings.Join(want, "\n"))
	}
}

// TestRefusalsAgreeWithTheDocument asks while nothing works.
func TestRefusalsAgreeWithTheDocument(t *testing.T) {
	t.Parallel()
	doc := loadDocument(t)
	for _, code := range []Code{CodeNotFound, CodeRefused, CodeInternal} {
		v := &world{}
		f := openFront(t, v)
		f.token(t, "admin")
		v.err = &Error{Code: code, Message: "no", Hint: "try"}
		for path, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				if path == "/api/apply" || strings.Contains(path, "tokens") || strings.Contains(path, "audit") {
					continue // an apply tells its outcome in its last line; the others don't stand on what fails here
				}
				if code != CodeInternal && method == http.MethodGet {
					continue // looking at what is there is not refused
				}
				m, target, body := f.request(t, method+" "+path)
				f.agrees(t, op, m, target, "admin", body)
			}
		}
	}
}

// agrees asks and holds the answer against what is said of it.
func (f *front) agrees(t *testing.T, op *openapi3.Operation, method, target, who, body string) {
	t.Helper()
	token := ""
	if who != "" {
		token = f.token(t, who)
	}
	resp := f.open(t, method, target, token, body)
	defer resp.Body.Close()
	what := method + " " + target + " by " + who + " " + body + " = " + resp.Status
	said := op.Responses.Value(strconv.Itoa(resp.StatusCode))
	if said == nil {
		data, _ := io.ReadAll(resp.Body)
		t.Errorf("%s, of which the document knows nothing: %s", what, data)
		return
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if len(said.Value.Content) == 0 {
		if data, _ := io.ReadAll(resp.Body); len(data) > 0 {
			t.Errorf("%s with a body: %s", what, data)
		}
		return
	}
	content := said.Value.Content[kind]
	if content == nil {
		t.Errorf("%s of type %q", what, kind)
		return
	}
	if kind == "text/event-stream" {
		if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
			t.Errorf("%s: %q, %v", what, line, err)
		}
		return
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	schema, values := content.Schema.Value, [][]byte{data}
	if kind == "application/x-ndjson" {
		schema = loadDocument(t).Components.Schemas["Progress"].Value
		values = slices.Collect(bytes.Lines(data))
	}
	for _, line := range values {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Errorf("%s: %v: %s", what, err, line)
			continue
		}
		if err := schema.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse()); err != nil {
			t.Errorf("%s: %v\n%s", what, err, line)
		}
	}
}

// TestEventsAgreeWithTheDocument holds the values that streams carry against it.
func TestEventsAgreeWithTheDocument(t *testing.T) {
	t.Parallel()
	doc := loadDocument(t)
	v := &world{}
	rows, _ := v.Instances(t.Context(), true)
	status, _ := v.Status(t.Context())
	p, _ := v.Plan(t.Context())
	for _, tt := range []struct {
		schema string
		value  any
	}{
		{"Change", Change{At: started, Kind: "instance", ID: "web:prod", Instance: &rows[0]}},
		{"Change", Change{At: started, Kind: "gone", ID: "web:prod"}},
		{"Change", Change{At: started, Kind: "status", Status: &status}},
		{"Line", logLine{Timestamp: 1, Level: "stdout", Process: "web", Instance: "prod", Message: "x"}},
		{"Progress", Event{At: started, Text: "x", Logs: []string{"y"}, Error: "z", Code: CodeBusy, Done: true}},
		{"Plan", p},
		{"Plan", plan.Plan{Host: "x", Actions: []plan.Action{}}},
	} {
		data, err := json.Marshal(tt.value)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if err := doc.Components.Schemas[tt.schema].Value.VisitJSON(back, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s is not what %T has: %v", tt.schema, tt.value, err)
		}
	}
}
