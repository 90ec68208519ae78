package export

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// maxProject keeps room for a service and an instance in names of 63.
const maxProject = 30

// Run exports the model: the one way to call a Target. The Losses hold every
// written field that the target's Uses call Lost, whatever Export returned, and
// are sorted by service and field.
func Run(t Target, m *schema.Model, o Options) (Bundle, []Loss, error) {
	if err := checkOptions(o); err != nil {
		return Bundle{}, nil, err
	}
	b, losses, err := t.Export(m, o)
	if err != nil {
		return Bundle{}, nil, err
	}
	slices.SortFunc(b.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i, f := range b.Files {
		if !fs.ValidPath(f.Path) || f.Path == "." {
			return Bundle{}, nil, fmt.Errorf("export %s: %q is no path beneath the output directory", t.Name, f.Path)
		}
		if i > 0 && b.Files[i-1].Path == f.Path {
			return Bundle{}, nil, fmt.Errorf("export %s: %s is written twice", t.Name, f.Path)
		}
	}
	losses = append(losses, unsaid(m, t.Uses, losses)...)
	slices.SortStableFunc(losses, compareLoss)
	return b, slices.Compact(losses), nil
}

func compareLoss(a, b Loss) int {
	return cmp.Or(
		strings.Compare(a.Service, b.Service),
		strings.Compare(a.Field, b.Field),
		strings.Compare(a.Value, b.Value),
		strings.Compare(a.Why, b.Why),
		strings.Compare(a.Instead, b.Instead),
		strings.Compare(string(a.Kind), string(b.Kind)),
	)
}

func checkOptions(o Options) error {
	if !validProject(o.Project) {
		return &InvalidError{"project", o.Project, fmt.Sprintf("want 1 to %d lower-case letters, digits and -, with a letter first and no - at the end", maxProject)}
	}
	if strings.HasPrefix(o.Root, "/") || path.Clean("/"+o.Root) != "/" && strings.Contains(o.Root, "//") {
		return &InvalidError{"root", o.Root, "want the way from the output directory to the repository"}
	}
	if strings.ContainsFunc(o.Region, notWord) {
		return &InvalidError{"region", o.Region, "want the name of a place, for example fra"}
	}
	if strings.ContainsFunc(o.Registry, notReference) || strings.HasSuffix(o.Registry, "/") {
		return &InvalidError{"registry", o.Registry, "want where images are pushed, for example registry.example.com/team"}
	}
	return nil
}

func validProject(s string) bool {
	return schema.ValidInstanceID(s) && len(s) <= maxProject && 'a' <= s[0] && s[0] <= 'z'
}

// ProjectName makes a legal project name of what a person called something else,
// a directory for example.
func ProjectName(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if notWord(r) {
			r = '-'
		}
		if b.Len() > 0 || 'a' <= r && r <= 'z' {
			b.WriteRune(r)
		}
	}
	name := strings.Trim(b.String()[:min(b.Len(), maxProject)], "-")
	if !validProject(name) {
		return "tenement"
	}
	return name
}

func notWord(r rune) bool {
	return r != '-' && (r < 'a' || 'z' < r) && (r < '0' || '9' < r)
}

func notReference(r rune) bool { return notWord(r) && !strings.ContainsRune("._/:", r) }
