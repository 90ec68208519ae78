package plan

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/schema"
)

func textOf(t *testing.T, p Plan, opt TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Text(&b, opt); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// edits is a plan with one of most things.
func edits() Plan {
	long := strings.Repeat("x", 200)
	before := service("web", ids("a", "b"), field("env.LOG", `"debug"`), field("env.LONG", `"`+long+`"`))
	after := service("web", ids("a", "b"), field("env.LOG", `"info"`), field("env.LONG", `"y`+long+`"`))
	return New(model(after, service("zoo")), world(running(before, "a", 1), running(before, "b", 2), running(service("old"), "prod", 3)))
}

func TestTextOptions(t *testing.T) {
	t.Parallel()
	plain := textOf(t, edits(), TextOptions{})
	for _, want := range []string{"web (2 instances)", `~ env.LOG `, "forces restart", "... -> ", "(2 unchanged fields hidden)", "Order: web, zoo -> remove old"} {
		if !strings.Contains(plain, want) {
			t.Errorf("%q is missing in\n%s", want, plain)
		}
	}
	full := textOf(t, edits(), TextOptions{Full: true})
	for _, want := range []string{"instances: a, b", strings.Repeat("x", 200), `+ command      "./serve --port {port}"`} {
		if !strings.Contains(full, want) {
			t.Errorf("full: %q is missing in\n%s", want, full)
		}
	}
	summary := textOf(t, edits(), TextOptions{Summary: true, Next: "Apply exactly this: ten apply p.ten", Took: 80 * time.Millisecond})
	if strings.Contains(summary, "forces") || !strings.Contains(summary, "   0.08 s\nApply exactly this: ten apply p.ten\n") {
		t.Errorf("summary:\n%s", summary)
	}
	color := textOf(t, edits(), TextOptions{Color: true})
	if bare := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(color, ""); bare != plain || color == plain {
		t.Errorf("without its colours the text is not the plain one:\n%s", bare)
	}
}

// TestTextFitsAScreen holds that a plan over everything stays readable.
func TestTextFitsAScreen(t *testing.T) {
	t.Parallel()
	var services []*schema.Service
	for i := range 1000 {
		services = append(services, service(fmt.Sprintf("s%04d", i)))
	}
	p := New(model(services...), world())
	short := textOf(t, p, TextOptions{})
	if n := strings.Count(short, "\n"); n > 2*screenful+10 || !strings.Contains(short, "and 960 more (--full lists all)") {
		t.Errorf("%d lines:\n%s", n, short)
	}
	if full := textOf(t, p, TextOptions{Full: true}); !strings.Contains(full, "s0999:prod") {
		t.Error("--full leaves some out")
	}
	var md bytes.Buffer
	if err := p.Markdown(&md); err != nil || md.Len() > maxMarkdown+1000 {
		t.Errorf("markdown of %d bytes, %v", md.Len(), err)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	fixed := func(s *schema.Service) { s.Port = 8080 }
	before := service("web", fixed, field("env.LOG", `"debug"`))
	after := service("web", fixed, field("env.LOG", "\"``` </details> <b>\""))
	o := world(running(before, "prod", 1), running(service("old"), "prod", 2))
	o.Host.Commands = map[string]string{"zoo": "no `zoo` here"}
	var b bytes.Buffer
	if err := New(model(after, service("zoo")), o).Markdown(&b); err != nil {
		t.Fatal(err)
	}
	want := "### ten plan: `web1` at `4f2c91a`\n\n" +
		"1 to replace, 1 to remove, 1 blocked, 0 unchanged.\n\n" +
		"- **Gap in service**: `web:prod`\n" +
		"- **Removed**: `old:prod`\n" +
		"- **Blocked**: `zoo:prod` (`` no `zoo` here ``)\n\n" +
		"<details><summary>The plan</summary>\n\n````text\nten plan  host web1"
	if !strings.HasPrefix(b.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if !strings.HasSuffix(b.String(), "\n````\n\n</details>\n") || strings.Count(b.String(), "````") != 2 {
		t.Errorf("the fence does not hold:\n%s", b.String())
	}
	var empty bytes.Buffer
	if err := New(model(before), world(running(before, "prod", 1))).Markdown(&empty); err != nil || !strings.HasSuffix(empty.String(), "Nothing to change, 1 instance.\n") {
		t.Errorf("%v\n%s", err, empty.String())
	}
}

func TestCutLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		most int
		want string
	}{
		{100, "one\ntwo\n"},
		{8, "one\ntwo\n"},
		{6, "one\n... the rest"},
		{2, "... the rest"},
		{-1, "... the rest"},
	} {
		if got := string(cutLines([]byte("one\ntwo\n"), tc.most)); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%d: %q, want %q", tc.most, got, tc.want)
		}
	}
}
