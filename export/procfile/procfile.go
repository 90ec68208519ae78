// Package procfile exports a model as a Procfile: one line for each service, as
// Foreman, Overmind and Heroku read it. A line is read by a shell, so whatever
// the config says stands in quotes; PORT is left to who runs the file.
package procfile

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

const file = "Procfile"

// port stands for {port} while a service is filled in.
const port = "\uE000"

// Target is the export to a Procfile.
func Target() export.Target {
	return export.Target{Name: "procfile", Short: "a Procfile, for Foreman and the like", Export: run, Uses: uses()}
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	e := &exporter{model: m, layout: export.Layout{
		Target: "procfile", Data: "tenement-data", Sockets: "/tmp",
		Port: func(*schema.Service, string) int { return export.ContainerPort },
	}}
	var b strings.Builder
	b.WriteString("# Made by ten export procfile. Edit the config and export again.\n")
	for _, s := range m.Services {
		line, err := e.line(s, o)
		if err != nil {
			return export.Bundle{}, nil, err
		}
		if line != "" {
			fmt.Fprintf(&b, "%s: %s\n", s.Name, line)
		}
	}
	steps := append(e.steps, "foreman start --root "+quote(path.Join(".", o.Root)))
	return export.Bundle{Files: []export.File{{Path: file, Data: []byte(b.String())}}, Steps: steps}, e.losses, nil
}

type exporter struct {
	model  *schema.Model
	layout export.Layout
	losses []export.Loss
	steps  []string
}

func (e *exporter) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	e.losses = append(e.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
}

// line is the command of a service, with its variables before it.
func (e *exporter) line(s *schema.Service, o export.Options) (string, error) {
	if s.Name == "release" {
		return "", e.layout.Refuse(s, "name", s.Name, "the process release of a Procfile runs once and ends", "give the service another name")
	}
	id := "main"
	if len(s.Instances) > 0 {
		id = s.Instances[0]
	}
	if n := len(s.Instances); n > 1 {
		e.lose(s, "instances", strings.Join(s.Instances, ", "), export.Converted, "a Procfile says no number", fmt.Sprintf("foreman start -m %s=%d", s.Name, n))
	}
	e.layout.Code = path.Clean(s.Source) // from the repository's root, where the lines are run
	in, err := export.Resolve(e.model, marked(s), id, e.layout)
	if err != nil {
		return "", err
	}
	words := e.assignments(s, in)
	for _, w := range in.Argv {
		words = append(words, quote(w))
	}
	line := strings.Join(words, " ")
	if in.Dir != "." {
		line = "cd " + quote(in.Dir) + " && " + line
	}
	if strings.ContainsAny(line, "\n\r") {
		return "", e.layout.Refuse(s, "command", strconv.Quote(s.Command), "a process is one line of a Procfile, and this holds a line break", "a script that is the command")
	}
	if s.Build != "" {
		e.lose(s, "build", s.Build, export.Converted, "a Procfile builds nothing", "a step to run before")
		e.steps = append(e.steps, "(cd "+quote(path.Join(o.Root, in.Code))+" && sh -c "+quote(s.Build)+")")
	}
	return line, nil
}

// assignments are the variables that a service gets beside PORT.
func (e *exporter) assignments(s *schema.Service, in export.Instance) []string {
	var words []string
	if s.Port != 0 {
		words = append(words, "PORT="+strconv.Itoa(s.Port))
	}
	if in.Socket != "" {
		words = append(words, "SOCKET_PATH="+quote(in.Socket))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		value := in.Env[name]
		switch {
		case name == "PORT" || name == "SOCKET_PATH":
		case !isName(name):
			e.lose(s, "env."+name, value, export.Lost, "a shell sets no variable of that name", "a script that is the command")
		case strings.ContainsAny(value, "\n\r"):
			e.lose(s, "env."+name, value, export.Lost, "a process is one line of a Procfile, and this holds a line break", ".env")
		default:
			words = append(words, name+"="+quote(value))
		}
	}
	return words
}

// marked is a service with {port} left open.
func marked(s *schema.Service) *schema.Service {
	open := func(text string) string { return strings.ReplaceAll(text, "{port}", port) }
	out := *s
	out.Command, out.Args, out.Env = open(s.Command), slices.Clone(s.Args), maps.Clone(s.Env)
	for i, a := range out.Args {
		out.Args[i] = open(a)
	}
	for name, value := range out.Env {
		out.Env[name] = open(value)
	}
	return &out
}

func isName(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// quote writes one word for a shell, which fills in nothing but PORT.
func quote(word string) string {
	if word == port {
		return "$PORT"
	}
	parts := strings.Split(word, port)
	for i, p := range parts {
		parts[i] = literal(p, len(parts) == 1)
	}
	return strings.Join(parts, `"${PORT}"`)
}

// literal writes text that a shell takes as it is.
func literal(text string, whole bool) string {
	plain := !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:@%+,", r)
	})
	switch {
	case text == "" && whole:
		return "''"
	case plain:
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'"
}
