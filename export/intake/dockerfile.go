package intake

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// readDockerfile reads what an image starts. How it is built is for a person to
// say anew: a build of ten's runs in the source, without root's package manager.
func readDockerfile(d *draft, src Source) error {
	built, err := readImage(src, "")
	if err != nil {
		return err
	}
	name := path.Base(src.Dir)
	if name == "." || name == ".." || name == "/" {
		name = "app"
	}
	s := d.add(name, built.at)
	if source, inside := inConfig(src, "."); !inside {
		s.lose("source", src.Dir, built.at, "it lies outside of the config's directory", "put the config at the root of the repository: -o")
	} else if source != "." {
		s.set("source", source, built.at, "")
	}
	built.apply(s)
	built.command(s)
	if !built.listens {
		s.set("health", schema.HealthNone, built.at, "nothing says that it listens: no EXPOSE, no HEALTHCHECK")
	}
	s.unsetDefault()
	return nil
}

// image is one stage of a Dockerfile: what a container of it starts.
type image struct {
	at         schema.Position // of its FROM
	name       string
	entrypoint []string
	cmd        []string
	ownCmd     bool // cmd was not inherited
	shell      []string
	commandAt  schema.Position
	env        []field
	losses     []Loss
	port       int
	portAt     schema.Position
	health     string
	healthAt   schema.Position
	times      []field // durations of the health check
	signal     string
	signalAt   schema.Position
	listens    bool
}

func (i *image) lose(name, value string, at schema.Position, why, instead string) {
	i.losses = append(i.losses, Loss{export.Loss{Field: name, Value: shown(value), Kind: export.Lost, Why: why, Instead: instead}, at})
}

// apply gives a service all of an image but its command.
func (i *image) apply(s *service) {
	for _, l := range i.losses {
		l.Service = s.name
		s.losses = append(s.losses, l)
	}
	for _, e := range i.env {
		s.setEnv(e.name, e.value.(string), e.at, "")
	}
	if i.port != 0 {
		s.set("port", i.port, i.portAt, "")
	}
	if i.health != "" {
		s.set("health", i.health, i.healthAt, "")
	}
	for _, t := range i.times {
		s.seconds(t.name, t.value.(time.Duration), 315360000, t.note, t.at)
	}
	if i.signal != "" {
		s.signal(i.signal, i.signalAt)
	}
}

// command gives a service the image's command.
func (i *image) command(s *service) {
	if argv := slices.Concat(i.entrypoint, i.cmd); len(argv) > 0 {
		s.run(argv, i.commandAt, "")
		return
	}
	s.gap("command", i.at, "it has no CMD and no ENTRYPOINT, so the image it is made from decides")
}

// stages reads a Dockerfile stage by stage.
type stages struct {
	src   Source
	lex   *shell.Lex
	args  args // of ARG and ENV
	first args // those before the first FROM
	done  []*image
	now   *image
}

// args are the variables that a Dockerfile has set so far.
type args map[string]string

// Get and Keys make it what the shell lexer asks.
func (a args) Get(name string) (string, bool) { v, ok := a[name]; return v, ok }

// Keys gives the names, sorted.
func (a args) Keys() []string { return slices.Sorted(maps.Keys(a)) }

// maxInstructions is far more than the layers that any image can have.
const maxInstructions = 2000

// readImage gives the stage that is built, the last one unless target names one.
func readImage(src Source, target string) (*image, error) {
	const fix = "mend the file: docker build --check ."
	parsed, err := parser.Parse(bytes.NewReader(src.Data))
	if err != nil {
		line := 0
		if located := (*parser.LocationError)(nil); errors.As(err, &located) && len(located.Locations) > 0 && len(located.Locations[0]) > 0 {
			line = located.Locations[0][0].Start.Line
		}
		return nil, &Error{at(src, line), clean(err.Error()), fix}
	}
	if len(parsed.AST.Children) > maxInstructions {
		return nil, &Error{at(src, 0), fmt.Sprintf("it has more than %d instructions", maxInstructions), "is this the right file?"}
	}
	st := &stages{src: src, lex: shell.NewLex(parsed.EscapeToken), args: args{}}
	for _, n := range parsed.AST.Children {
		if err := st.instruction(n); err != nil {
			return nil, err
		}
	}
	for _, i := range st.done {
		if target != "" && i.name == strings.ToLower(target) {
			return i, nil
		}
	}
	if st.now == nil || target != "" {
		return nil, &Error{at(src, 0), "there is no stage to build in it", "begin it with FROM"}
	}
	return st.now, nil
}

func (st *stages) instruction(n *parser.Node) error {
	at := at(st.src, n.StartLine)
	name := strings.ToLower(n.Value)
	if name == command.From {
		st.from(n, at)
		return nil
	}
	if name == command.Arg {
		st.arg(n)
		return nil
	}
	if st.now == nil {
		return &Error{at, strings.ToUpper(shown(n.Value)) + " stands before any FROM", "begin the file with FROM"}
	}
	switch name {
	case command.Env:
		st.env(n, at)
	case command.Cmd:
		st.now.cmd, st.now.commandAt, st.now.ownCmd = st.words(n, n.Next), at, true
	case command.Entrypoint:
		st.now.entrypoint, st.now.commandAt = st.words(n, n.Next), at
		if !st.now.ownCmd {
			st.now.cmd = nil // that of the stage below was for another program
		}
	case command.Shell:
		st.now.shell = values(n.Next)
	case command.Expose:
		st.expose(n, at)
	case command.Healthcheck:
		st.healthcheck(n, at)
	case command.StopSignal:
		st.now.signal, st.now.signalAt = st.expand(n.Next), at
	case command.Copy, command.Label, command.Maintainer:
	default:
		st.unsaid(name, n, at)
	}
	return nil
}

// unsaid are the instructions that ten has no word for.
func (st *stages) unsaid(name string, n *parser.Node, at schema.Position) {
	rest := strings.Join(values(n.Next), " ")
	switch name {
	case command.Run:
		st.now.lose("RUN", rest, at, "ten builds no images", "build, for what the source needs; the host's packages for the rest")
	case command.User:
		st.now.lose("USER", rest, at, "ten chooses the user", "")
	case command.Workdir:
		st.now.lose("WORKDIR", rest, at, "it is a directory of the image; the program starts in its source", "workdir, beneath the source")
	case command.Volume:
		st.now.lose("VOLUME", rest, at, "an instance has one directory to keep data in", "{instance_dir}")
	default:
		st.now.lose(strings.ToUpper(name), rest, at, "ten has no word for it", "")
	}
}

// from begins a stage, anew or where another one ended.
func (st *stages) from(n *parser.Node, at schema.Position) {
	words := values(n.Next)
	if st.now == nil {
		st.first = maps.Clone(st.args)
	}
	st.args = maps.Clone(st.first)
	base := ""
	if len(words) > 0 {
		base = st.expand(n.Next)
	}
	next := &image{at: at, shell: []string{"/bin/sh", "-c"}}
	for _, done := range st.done {
		if done.name != "" && done.name == strings.ToLower(base) {
			inherited := *done
			inherited.losses, inherited.env = slices.Clone(done.losses), slices.Clone(done.env)
			inherited.ownCmd = false
			next = &inherited
			base = ""
		}
	}
	if next.name = ""; len(words) == 3 && strings.EqualFold(words[1], "as") {
		next.name = strings.ToLower(words[2])
	}
	if base != "" && base != "scratch" {
		next.lose("FROM", base, at, "ten runs no images: what this one holds must be on the host", "")
	}
	st.now = next
	st.done = append(st.done, next)
}

func (st *stages) arg(n *parser.Node) {
	for w := n.Next; w != nil; w = w.Next {
		if name, value, ok := strings.Cut(w.Value, "="); ok {
			st.args[name] = st.expandText(value)
		}
	}
}

// env reads the name, value and separator that the parser makes of each pair.
func (st *stages) env(n *parser.Node, at schema.Position) {
	for w := n.Next; w != nil && w.Next != nil; w = w.Next {
		name, value := w.Value, st.expand(w.Next)
		st.now.env = append(st.now.env, field{name: name, value: value, at: at})
		st.args[name] = value
		if w = w.Next.Next; w == nil {
			break
		}
	}
}

func (st *stages) expose(n *parser.Node, at schema.Position) {
	for w := n.Next; w != nil; w = w.Next {
		number, protocol, _ := strings.Cut(st.expand(w), "/")
		port, ok := portNumber(number)
		switch {
		case !ok || protocol == "udp":
			st.now.lose("EXPOSE", w.Value, at, "ten knows one TCP port of a program", "")
		case st.now.port != 0 && st.now.port != port:
			st.now.lose("EXPOSE", w.Value, at, "ten knows one port of a program", "")
		default:
			st.now.port, st.now.portAt, st.now.listens = port, at, true
		}
	}
}

func (st *stages) healthcheck(n *parser.Node, at schema.Position) {
	if n.Next == nil || strings.EqualFold(n.Next.Value, "NONE") {
		st.now.health = ""
		return
	}
	for _, flag := range n.Flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		d, err := time.ParseDuration(value)
		if name == "start-period" && err == nil && d > 0 {
			st.now.times = append(st.now.times, field{"startup_timeout", d, at, value})
			continue
		}
		st.now.lose("HEALTHCHECK "+name, value, at, "ten probes in its own rhythm", "settings.health_check_interval")
	}
	st.now.listens = true
	line := strings.Join(values(n.Next.Next), " ")
	if path, ok := healthPath(line); ok {
		st.now.health, st.now.healthAt = path, at
		return
	}
	st.now.lose("HEALTHCHECK", line, at, "ten asks by HTTP or connects, and runs nothing for it", "it is well when it accepts a connection")
}

// words are what the kernel sees of a command: a list, or a line for the shell.
func (st *stages) words(n, first *parser.Node) []string {
	words := values(first)
	if n.Attributes["json"] || len(words) == 0 {
		return words
	}
	return append(slices.Clone(st.now.shell), strings.Join(words, " "))
}

func (st *stages) expand(n *parser.Node) string {
	if n == nil {
		return ""
	}
	return st.expandText(n.Value)
}

// expandText fills in what ARG and ENV said; what can't be is left as it is.
func (st *stages) expandText(text string) string {
	const most = 1 << 14 // ENV A=$A$A doubles with each line
	out, _, err := st.lex.ProcessWord(text, st.args)
	if err != nil || len(out) > most {
		return text
	}
	return out
}

func values(n *parser.Node) []string {
	var words []string
	for ; n != nil; n = n.Next {
		words = append(words, n.Value)
	}
	return words
}
