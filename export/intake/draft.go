package intake

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// draft is the foreign file as far as it is understood.
type draft struct {
	format   string
	services []*service
	settings []field
	losses   []Loss // of no service
	byName   map[string]*service
	foreign  map[string]*service // the first that is called so
}

// service is one service in ten's words, with what was lost on the way.
type service struct {
	name    string // legal and unique
	foreign string // as it was
	at      schema.Position
	note    string
	fields  []field
	env     []field
	envAt   map[string]int // where in env a variable stands
	losses  []Loss
	gaps    []Gap
}

// field is one value with the place it came from.
type field struct {
	name  string
	value any // string, int, bool, []string or []schema.Dependency
	at    schema.Position
	note  string
}

var notInName = regexp.MustCompile(`[^a-z0-9_-]+`)

// add begins a service. A name that ten does not allow, or that is taken, is
// changed, and that is said.
func (d *draft) add(foreign string, at schema.Position) *service {
	if d.byName == nil {
		d.byName, d.foreign = map[string]*service{}, map[string]*service{}
	}
	base := strings.Trim(notInName.ReplaceAllString(strings.ToLower(foreign), "-"), "-_")
	base = strings.TrimRight(base[:min(len(base), 60)], "-_")
	if base == "" {
		base = "service"
	}
	name := base
	for n := 2; d.byName[name] != nil; n++ {
		name = fmt.Sprintf("%s-%d", strings.TrimRight(base[:min(len(base), 54)], "-_"), n)
	}
	s := &service{name: name, foreign: foreign, at: at}
	d.byName[name] = s
	if d.foreign[foreign] == nil {
		d.foreign[foreign] = s
	}
	if name != foreign {
		s.convert("name", foreign, at, "a name has lower-case letters, digits, - and _, and occurs once", name)
	}
	d.services = append(d.services, s)
	return s
}

// named finds the service that the foreign file calls so.
func (d *draft) named(foreign string) *service { return d.foreign[foreign] }

// lose records what no service says, such as a network.
func (d *draft) lose(name, value string, at schema.Position, why, instead string) {
	d.losses = append(d.losses, Loss{export.Loss{Field: name, Value: shown(value), Kind: export.Lost, Why: why, Instead: instead}, at})
}

// set gives a field its value. The last one said counts.
func (s *service) set(name string, value any, at schema.Position, note string) {
	if text, ok := value.(string); ok && strings.ContainsRune(text, 0) {
		s.lose(name, text, at, "it holds a NUL byte", "")
		return
	}
	s.unset(name)
	s.fields = append(s.fields, field{name, value, at, note})
}

func (s *service) unset(name string) {
	s.fields = slices.DeleteFunc(s.fields, func(f field) bool { return f.name == name })
}

func (s *service) get(name string) any {
	for _, f := range s.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// lose records a value that is not said at all; convert one that is said in
// another way.
func (s *service) lose(name, value string, at schema.Position, why, instead string) {
	s.loss(export.Lost, name, value, at, why, instead)
}

func (s *service) convert(name, value string, at schema.Position, why, instead string) {
	s.loss(export.Converted, name, value, at, why, instead)
}

func (s *service) loss(kind export.Kind, name, value string, at schema.Position, why, instead string) {
	s.losses = append(s.losses, Loss{export.Loss{Service: s.name, Field: name, Value: shown(value), Kind: kind, Why: why, Instead: instead}, at})
}

// gap leaves a field for a person.
func (s *service) gap(name string, at schema.Position, why string) {
	s.unset(name)
	s.gaps = append(s.gaps, Gap{Service: s.name, Field: name, At: at, Why: why})
}

// setEnv gives the program a variable, or says why it can't have it.
func (s *service) setEnv(name, value string, at schema.Position, note string) {
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00"):
		s.lose("env."+name, value, at, "that is no name of a variable", "")
		return
	case strings.ContainsRune(value, 0):
		s.lose("env."+name, value, at, "it holds a NUL byte, which no variable can", "")
		return
	case name == "PORT":
		s.convert("env.PORT", value, at, "ten sets PORT itself, to the port it probes", "port")
		if n, ok := portNumber(value); ok && s.get("port") == nil {
			s.set("port", n, at, "was PORT")
		}
		return
	case name == "SOCKET_PATH":
		s.lose("env.SOCKET_PATH", value, at, "ten sets SOCKET_PATH itself, to the socket it probes", "socket")
		return
	case misspelt(value):
		s.lose("env."+name, value, at, "ten would take what stands in its braces for a variable of its own", "let the program read it from a file")
		return
	}
	if v := variableIn(value); v != "" {
		s.convert("env."+name, value, at, "ten fills in "+v, "write it another way if that is not meant")
	}
	f := field{name, filled(value), at, note}
	if i, there := s.envAt[name]; there {
		s.env[i] = f
		return
	}
	if s.envAt == nil {
		s.envAt = map[string]int{}
	}
	s.envAt[name] = len(s.env)
	s.env = append(s.env, f)
}

// The variables that ten fills in wherever it finds them.
var variables = []string{"name", "id", "data_dir", "instance_dir", "socket", "port"}

// variableIn gives the first variable of ten's that stands in a foreign text,
// where it can't have been meant.
func variableIn(text string) string {
	for _, v := range variables {
		if strings.Contains(text, "{"+v+"}") {
			return "{" + v + "}"
		}
	}
	return ""
}

// misspelt reports whether a text holds what the loader refuses as a slip in the
// name of a variable. It errs on that side.
func misspelt(text string) bool {
	for at := 0; ; {
		open := strings.IndexByte(text[at:], '{')
		if open < 0 {
			return false
		}
		at += open + 1
		end := strings.IndexByte(text[at:], '}')
		if end < 0 {
			return false
		}
		word := text[at : at+end]
		shell := at > 1 && text[at-2] == '$'
		if !shell && len(word) <= 20 && word != strings.ToUpper(word) && !slices.Contains(variables, word) && nearVariable(word) {
			return true
		}
	}
}

func nearVariable(word string) bool {
	word = strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(word))
	return slices.ContainsFunc(variables, func(v string) bool {
		return len(v) > 3 && levenshtein.Distance(word, v, nil) < 2
	})
}

// shown is a value as a comment or table can hold it: one line, not long.
func shown(value string) string {
	const most = 60
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, value)
	if runes := []rune(value); len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return value
}
