// Package intake is the way back: it reads the files of other tools (Compose,
// Dockerfile, fly.toml, Procfile, systemd units, Nomad jobs, capability files) and
// says in a tenement.toml what they ask for. Every line of the result tells where
// it came from. What ten can't say is never dropped in silence: it is a Loss and a
// comment. What only a person can know is left open, as a Gap with its line.
//
// The result without a Gap is a config that loads. A file that can't be read, or
// holds nothing to run, is an *Error with its place and a way out.
package intake

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Source is one foreign file.
type Source struct {
	Name string // as the person named it, for comments and messages
	Data []byte
	// Dir is the directory that the file lies in, as a slash path from where the
	// config will lie: "." or "deploy", or "../x" where it is outside.
	Dir string
	// Tree is that directory, to read what the file names (a Dockerfile, an
	// env_file); nil = such files are a Loss.
	Tree fs.FS
}

// Format is one kind of foreign file.
type Format struct {
	Name  string // "compose"
	Files string // what it reads, for the usage: "FILE"
	Short string // one line of help
	Many  bool   // several files make one config
	read  func(d *draft, src []Source) error
}

// Formats are all of them, in the order of the help.
func Formats() []Format {
	return []Format{
		{Name: "compose", Files: "FILE", Short: "a compose.yaml of Docker Compose", read: one(readCompose)},
		{Name: "dockerfile", Files: "FILE", Short: "a Dockerfile", read: one(readDockerfile)},
		{Name: "fly", Files: "FILE", Short: "a fly.toml", read: one(readFly)},
		{Name: "procfile", Files: "FILE", Short: "a Procfile, as Heroku and Foreman run it", read: one(readProcfile)},
		{Name: "nomad", Files: "FILE", Short: "a job of Nomad", read: one(readNomad)},
		{Name: "caps", Files: "FILE", Short: "a capability file of isolate", read: one(readCaps)},
		{Name: "systemd", Files: "UNIT...", Short: "units of systemd: .service files, and .socket files of them", Many: true, read: readSystemd},
	}
}

// Loss is a value that the config can't say as the foreign file did.
type Loss struct {
	export.Loss
	At schema.Position `json:"at"`
}

// Gap is a line of the result that a person must fill in before it loads.
type Gap struct {
	Line    int // in Result.Config, from 1
	Service string
	Field   string
	At      schema.Position // what in the foreign file leaves it open
	Why     string
}

// Result is a foreign file in ten's words.
type Result struct {
	Config   []byte // a tenement.toml, laid out as ten fmt would
	Services int
	Losses   []Loss // in the order of the foreign file
	Gaps     []Gap  // by line
}

// Error is a foreign file that can't be taken over.
type Error struct {
	At  schema.Position
	Why string
	Fix string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.At, e.Why) }

// Hint says how to go on.
func (e *Error) Hint() string { return e.Fix }

// Read says foreign files in ten's words. It is pure: what it may read of the
// disk is in Source.Tree. The error is an *Error.
func Read(f Format, src []Source) (Result, error) {
	for i, s := range src {
		if err := readable(s); err != nil {
			return Result{}, err
		}
		src[i].Data = bytes.TrimPrefix(s.Data, []byte("\xef\xbb\xbf"))
	}
	d := &draft{format: f.Name}
	if err := f.read(d, src); err != nil {
		return Result{}, err
	}
	if len(d.services) == 0 {
		return Result{}, &Error{at(src[0], 0), "there is nothing in it to run", "name a file that declares a program; this was read as: " + f.Short}
	}
	if len(d.services) > schema.MaxServices {
		return Result{}, &Error{at(src[0], 0), fmt.Sprintf("it declares %d services, and a config may have %d", len(d.services), schema.MaxServices), "split it into several hosts"}
	}
	d.settle()
	r := d.result()
	if len(r.Config) > schema.MaxFileSize {
		return Result{}, &Error{at(src[0], 0), fmt.Sprintf("what it says takes more than the %d MB that a config may have", schema.MaxFileSize>>20), "split it"}
	}
	return r, nil
}

// readable refuses what is no text of a bearable size.
func readable(s Source) error {
	if len(s.Data) > schema.MaxFileSize {
		return &Error{at(s, 0), fmt.Sprintf("it is larger than %d MB", schema.MaxFileSize>>20), "is this the right file?"}
	}
	line := 1
	for rest := s.Data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == 0:
			return &Error{at(s, line), "it holds a NUL byte, so it is no text", "is this the right file?"}
		case r == utf8.RuneError && n <= 1:
			return &Error{at(s, line), fmt.Sprintf("byte 0x%02x is not UTF-8", rest[0]), "save the file as UTF-8"}
		case r == '\n':
			line++
		}
		rest = rest[n:]
	}
	if len(bytes.TrimSpace(s.Data)) == 0 {
		return &Error{at(s, 0), "the file is empty", "name a file that declares a program"}
	}
	return nil
}

// one is a format of a single file.
func one(read func(d *draft, s Source) error) func(*draft, []Source) error {
	return func(d *draft, src []Source) error { return read(d, src[0]) }
}

func at(s Source, line int) schema.Position { return schema.Position{File: s.Name, Line: line} }

// inConfig gives a path of the foreign file as a path from the config, and false
// where that leaves the repository.
func inConfig(s Source, name string) (string, bool) {
	p := path.Join(s.Dir, name)
	return p, !path.IsAbs(name) && p != ".." && !strings.HasPrefix(p, "../") && !strings.HasPrefix(p, "~")
}
