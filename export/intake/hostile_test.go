package intake_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenement/ten/export/intake"
)

// TestHostileFilesEnd: what would take a library's parser all of the stack, the
// memory or the day is refused with its place.
func TestHostileFilesEnd(t *testing.T) {
	t.Parallel()
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	tests := []struct{ format, name, data, want string }{
		{"nomad", "operators in lines", "a = (" + many("!\n", 300_000) + ")", "nested too deeply"},
		{"nomad", "differences", "a = 1" + many("-1", 400_000), "too many expressions"},
		{"nomad", "templates", `a = "` + many("${1}", 200_000) + `"`, "too many expressions"},
		{"nomad", "directives", `a = "` + many("%{if true}", 90_000) + `"`, "too many expressions"},
		{"nomad", "choices", "a = (" + many("true ?\n1 :\n", 90_000) + "1)", "too many expressions"},
		{"nomad", "a banner is none", "# " + many("-", 500) + "\na = 1", "there is no job in it"},
		{"compose", "defaults of defaults", "services:\n a:\n  command: \"" + many("${A:-", 60_000) + many("}", 60_000) + "\"", "too many variables"},
		{"compose", "variables", "services:\n a:\n  command: \"" + many("$A ", 300_000) + "\"", "too many variables"},
		{"compose", "services", "services:\n" + numbered(" s# : {command: x}\n", 15_000), "a config may have 10000"},
		{"compose", "environment", "services:\n a:\n  command: x\n  environment:\n" + numbered("   K#: v\n", 60_000), "more than the 1 MB"},
		{"dockerfile", "doubling", "FROM x\nENV A=xxxxxxxxxxxxxxxx\n" + many("ENV A=$A$A\n", 1900) + "CMD x", ""},
		{"dockerfile", "stages", numbered("FROM a\n", 3000) + "CMD x", "more than 2000 instructions"},
		{"fly", "processes with variables", "app=\"a\"\n[env]\n" + numbered("K#=\"v\"\n", 5000) + "[processes]\n" + numbered("g#=\"x\"\n", 5000), "more than a config may have"},
		{"procfile", "processes", numbered("s#: x\n", 12_000), "a config may have 10000"},
	}
	for _, tt := range tests {
		t.Run(tt.format+" "+tt.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := intake.Read(formatNamed(t, tt.format), []intake.Source{{Name: "f", Data: []byte(tt.data), Dir: "."}})
			if took := time.Since(began); took > 60*time.Second {
				t.Errorf("took %s", took)
			}
			var e *intake.Error
			if tt.want == "" && err == nil {
				return
			}
			if !errors.As(err, &e) || tt.want == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// numbered repeats a line with 0, 1, 2 for #.
func numbered(line string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(line, "#", strconv.Itoa(i)))
	}
	return b.String()
}
