package export_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"pgregory.net/rapid"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/export/exporttest"
	"github.com/tenement/ten/proptest"
	"github.com/tenement/ten/schema"
)

// TestGeneratedDockerfileIsReadBack has Docker's own parser read Dockerfiles of
// services whose build and environment are full of what it could take for its own.
func TestGeneratedDockerfileIsReadBack(t *testing.T) {
	t.Parallel()
	proptest.Check(t, func(t *rapid.T) {
		build := "go build " + strings.ReplaceAll(exporttest.Text().Draw(t, "build"), "\x00", "")
		value := strings.ReplaceAll(exporttest.Text().Draw(t, "value"), "\x00", "")
		s := exporttest.Service("web", func(s *schema.Service) { s.Build, s.Env = build, map[string]string{"A": value} })
		m := exporttest.Model(s)
		m.Settings.DataDir = "/" + strings.ReplaceAll(exporttest.Text().Draw(t, "dir"), "\x00", "")
		image, err := export.ImageFor(m, s, exporttest.Options(), export.ContainerLayout("compose"))
		if err != nil {
			return // refused: it names another language, or a directory
		}
		file, err := parser.Parse(bytes.NewReader(image.Generated))
		if err != nil {
			t.Fatalf("%v\n%s", err, image.Generated)
		}
		stages := runsOf(file.AST)
		if len(stages) != 2 {
			t.Fatalf("%d stages\n%s", len(stages), image.Generated)
		}
		want := []string{"/bin/sh", "-c", build}
		if !perInstance(value) {
			want = append([]string{"/usr/bin/env", "--", "A=" + value}, want...)
		}
		runs := stages[0]
		if len(runs) != 1 || !slices.Equal(runs[0], want) {
			t.Fatalf("the build came back as %q, want %q", runs, want)
		}
		runs = stages[1]
		data := export.DataDir(m, export.ContainerLayout("compose")) + "/web"
		if len(runs) != 2 || runs[0][2] != data+"/prod" || runs[1][3] != data {
			t.Fatalf("the directories came back as %q, want %q", runs, data)
		}
	})
}

// perInstance reports a value that differs from instance to instance, which a
// build does not see.
func perInstance(value string) bool {
	return slices.ContainsFunc([]string{"{name}", "{id}", "{port}", "{socket}", "{data_dir}", "{instance_dir}"},
		func(v string) bool { return strings.Contains(value, v) })
}

// runsOf are the RUN lines of each stage, in the form that no shell touches.
func runsOf(file *parser.Node) (stages [][][]string) {
	for _, line := range file.Children {
		switch {
		case strings.EqualFold(line.Value, "from"):
			stages = append(stages, nil)
		case strings.EqualFold(line.Value, "run") && line.Attributes["json"]:
			var words []string
			for n := line.Next; n != nil; n = n.Next {
				words = append(words, n.Value)
			}
			stages[len(stages)-1] = append(stages[len(stages)-1], words)
		}
	}
	return stages
}
