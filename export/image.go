package export

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tenement/ten/schema"
)

// Image is how the image of a service comes about: from the repository's own
// Dockerfile, or from a generated one. One image serves all its instances.
type Image struct {
	Name       string // "project-web", beneath Options.Registry where that is set
	Context    string // the service's source, as a path in the repository; "." = its root
	Dockerfile string // the repository's own, as a path in it; "" = generated
	Generated  []byte // the generated one
	// Entrypoint reports that the own Dockerfile sets one, which a target has to
	// override, since the service's command is the whole of what runs.
	Entrypoint bool
}

// BuildContext is the way from the output directory to the context.
func (i Image) BuildContext(o Options) string { return path.Join(".", o.Root, i.Context) }

// ImageFor finds or generates the Dockerfile of a service. It refuses where that
// would be a guess: a program that is neither in the source, nor built, nor of a
// language it knows.
func ImageFor(m *schema.Model, s *schema.Service, o Options, l Layout) (Image, error) {
	image := Image{Name: path.Join(o.Registry, o.Project+"-"+s.Name), Context: path.Clean(s.Source)}
	if own := path.Join(image.Context, "Dockerfile"); exists(o.Tree, own) {
		image.Dockerfile = own
		image.Entrypoint = setsEntrypoint(string(firstBytes(o.Tree, own)))
		return image, nil
	}
	words, err := words(s)
	if err != nil {
		return Image{}, l.Refuse(s, "command", s.Command, err.Error(), "give the words in args")
	}
	tools, err := toolsFor(s, o, l)
	if err != nil {
		return Image{}, err
	}
	runs, err := runnerOf(s, words[0], tools, o, l)
	if err != nil {
		return Image{}, err
	}
	image.Generated = dockerfile(m, s, l, tools, runs.image(runs.run, o.Tree, image.Context), o)
	return image, nil
}

func setsEntrypoint(dockerfile string) bool {
	for line := range strings.Lines(dockerfile) {
		if first := strings.Fields(line); len(first) > 0 && strings.EqualFold(first[0], "ENTRYPOINT") {
			return true
		}
	}
	return false
}

// toolsFor finds the image that a service's build runs in; the zero language
// where there is nothing to build.
func toolsFor(s *schema.Service, o Options, l Layout) (language, error) {
	if s.Build == "" {
		return language{}, nil
	}
	spoken := map[string]language{}
	for _, w := range strings.FieldsFunc(s.Build, func(r rune) bool { return strings.ContainsRune(" \t\n;&|()", r) }) {
		if lang, ok := runsWith(w); ok {
			spoken[lang.name] = lang
		}
	}
	system, onlySystem := spoken["system"]
	_, speaksC := spoken["c"]
	delete(spoken, "system")
	delete(spoken, "c") // make builds everything
	names := slices.Sorted(maps.Keys(spoken))
	mark, isMarked := marked(o.Tree, path.Clean(s.Source))
	switch {
	case len(names) > 1:
		return language{}, l.Refuse(s, "build", s.Build, "it needs "+strings.Join(names, " and ")+" in one image", "write "+path.Join(s.Source, "Dockerfile"))
	case len(names) == 1:
		return spoken[names[0]], nil
	case isMarked:
		return mark, nil
	case speaksC:
		c, _ := runsWith("make")
		return c, nil
	case onlySystem:
		return system, nil
	}
	return language{}, l.Refuse(s, "build", s.Build, "nothing says which image can build it", "write "+path.Join(s.Source, "Dockerfile"))
}

// runnerOf finds the image that a program runs in.
func runnerOf(s *schema.Service, program string, tools language, o Options, l Layout) (language, error) {
	own := "write " + path.Join(s.Source, "Dockerfile")
	name := path.Base(program)
	switch {
	case path.IsAbs(program):
		dir := path.Dir(program)
		if lang, ok := runsWith(name); ok && lang.name == "system" && (dir == "/bin" || dir == "/usr/bin") {
			return lang, nil
		}
		return language{}, l.Refuse(s, "command", s.Command, program+" is a file of the host, and no image is known to have it", "name the program without a path, or "+own)
	case !strings.Contains(program, "/"):
		if lang, ok := runsWith(program); ok {
			return lang, nil
		}
		return language{}, l.Refuse(s, "command", s.Command, "no image is known to have "+program, own)
	}
	file := path.Join(path.Clean(s.Source), path.Join("/", s.Workdir, program))
	if script := interpreter(o.Tree, file); script != "" {
		if lang, ok := runsWith(script); ok {
			return lang, nil
		}
		return language{}, l.Refuse(s, "command", s.Command, file+" is a script for "+script+", and no image is known to have that", own)
	}
	switch {
	case isELF(o.Tree, file):
		return language{name: "system", run: plain}, nil
	case s.Build != "":
		return tools, nil
	case exists(o.Tree, file):
		return language{}, l.Refuse(s, "command", s.Command, file+" is neither a program nor a script with a #! line", own)
	}
	return language{}, l.Refuse(s, "command", s.Command, file+" is not in the repository, and the service has no build that makes it", "set build, or "+own)
}

// dockerfile writes the file. Whatever the config says stands in JSON forms,
// which no shell and no variable of Docker's touches.
func dockerfile(m *schema.Model, s *schema.Service, l Layout, tools language, run string, o Options) []byte {
	var b strings.Builder
	code := strings.ReplaceAll(l.Code, "{name}", s.Name)
	fmt.Fprintf(&b, "# Made by ten export from service %s. Edit the config, or write %s.\n", s.Name, path.Join(s.Source, "Dockerfile"))
	if s.Build != "" {
		fmt.Fprintf(&b, "FROM %s AS build\nWORKDIR %s\nCOPY . .\n", tools.image(tools.build, o.Tree, path.Clean(s.Source)), code)
		words := []string{"/bin/sh", "-c", s.Build}
		if env := BuildEnv(s); len(env) > 0 {
			words = append(append([]string{"/usr/bin/env", "--"}, env...), words...)
		}
		fmt.Fprintf(&b, "RUN %s\n\n", jsonWords(words))
	}
	fmt.Fprintf(&b, "FROM %s\nENV LANG=C.UTF-8\nWORKDIR %s\n", run, code)
	if s.Build != "" {
		fmt.Fprintf(&b, "COPY --from=build %s %s\n", code, code)
	} else {
		b.WriteString("COPY . .\n")
	}
	if l.User != "" {
		dirs := []string{"/bin/mkdir", "-p"}
		data := DataDir(m, l)
		for _, id := range s.Instances {
			dirs = append(dirs, path.Join(data, s.Name, id))
		}
		if len(s.Instances) > 0 {
			fmt.Fprintf(&b, "RUN %s\nRUN %s\n", jsonWords(dirs), jsonWords([]string{"/bin/chown", "-R", l.User, path.Join(data, s.Name)}))
		}
		fmt.Fprintf(&b, "USER %s\n", l.User)
	}
	return []byte(b.String())
}

// BuildEnv is what ten shows a build of the environment: what is the same for
// every instance, sorted.
func BuildEnv(s *schema.Service) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		v := s.Env[name]
		if !slices.ContainsFunc([]string{"{name}", "{id}", "{port}", "{socket}", "{data_dir}", "{instance_dir}"},
			func(variable string) bool { return strings.Contains(v, variable) }) {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// jsonWords is a JSON list on one line, its < and & left readable.
func jsonWords(words []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(jsonString(w))
	}
	b.WriteByte(']')
	return b.String()
}

func jsonString(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("export: a string without JSON form: " + err.Error()) // there is none
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// IgnoreFile is what lies beside a generated Dockerfile so that the context
// holds what the repository does: NAME.dockerignore.
func IgnoreFile() []byte { return []byte("**/.git\n**/tenement-data\n") }
