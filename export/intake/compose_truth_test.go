package intake_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export/intake"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// TestComposeIsReadAsComposeReadsIt compares with Compose's own loader, which is
// kept out of the program: what it makes of command lines, variables, escapes,
// ports, sizes and times, the import makes of them too.
func TestComposeIsReadAsComposeReadsIt(t *testing.T) {
	if testing.Short() {
		t.Skip("a few hundred loads")
	}
	t.Parallel()
	text := rapid.StringOf(rapid.RuneFrom([]rune("ab01 '\"$\\{}:-_=/.#é\t")))
	compared := 0
	proptest.Check(t, func(r *rapid.T) {
		service := map[string]any{"image": "x", "stop_signal": "SIGINT", "ports": []any{"80:8080"}}
		if rapid.Bool().Draw(r, "list") {
			service["command"] = append([]string{"./web"}, rapid.SliceOfN(text, 0, 3).Draw(r, "words")...)
		} else {
			service["command"] = "./web " + text.Draw(r, "line")
		}
		service["environment"] = rapid.OneOf(
			rapid.Map(text, func(v string) any { return map[string]any{"A": v} }),
			rapid.Map(text, func(v string) any { return []any{"A=" + v} }),
		).Draw(r, "environment")
		service["mem_limit"] = rapid.SampledFrom([]any{"64m", "1gb", 134217728, "128M"}).Draw(r, "memory")
		service["stop_grace_period"] = rapid.SampledFrom([]string{"20s", "1m30s", "1h", "1m"}).Draw(r, "grace")
		data, err := yaml.Marshal(map[string]any{"services": map[string]any{"web": service}})
		if err != nil {
			r.Fatal(err)
		}
		if compareWithLoader(t, r, data) {
			compared++
		}
	})
	if compared < 20 {
		t.Errorf("only %d files could be compared", compared)
	}
}

// compareWithLoader reports whether both read the file and the import lost nothing.
func compareWithLoader(t *testing.T, r *rapid.T, data []byte) bool {
	t.Helper()
	details := types.ConfigDetails{
		WorkingDir: "/nowhere", Environment: types.Mapping{},
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: slices.Clone(data)}},
	}
	project, err := loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName("p", true)
		o.Interpolate.Substitute = func(text string, value template.Mapping) (string, error) {
			return template.SubstituteWithOptions(text, value, template.WithoutLogging) // a variable that nobody set is a case of ours
		}
	})
	result, mine := intake.Read(formatNamed(t, "compose"), []intake.Source{{Name: "compose.yaml", Data: data, Dir: "."}})
	if err != nil || mine != nil {
		return false
	}
	if len(result.Gaps) > 0 || strings.Contains(string(result.Config), "\n# lost: ") {
		return false
	}
	got, want := check(t, result).Services[0], project.Services["web"]
	if x, y := line(t, got), strings.Join(want.Command, "\x00"); x != y && !strings.Contains(y, "{") {
		r.Fatalf("command %q, Compose has %q\n%s", x, y, data)
	}
	env := map[string]string{}
	for name, value := range want.Environment {
		env[name] = *value
	}
	if !maps.Equal(got.Env, env) {
		r.Fatalf("env %q, Compose has %q\n%s", got.Env, env, data)
	}
	if x, y := facts(got), fmt.Sprint(int64(want.MemLimit)>>20, want.StopGracePeriod, want.StopSignal, want.Ports[0].Target); x != y {
		r.Fatalf("%s, Compose has %s\n%s", x, y, data)
	}
	return true
}

func facts(s *schema.Service) string {
	return fmt.Sprint(s.MemoryLimitMB, types.Duration(s.StopTimeout), s.StopSignal, s.Port)
}
