package export

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tenement/ten/schema"
)

// service is a declared service as the loader makes it.
func service(change func(s *schema.Service)) *schema.Service {
	s := &schema.Service{
		Name: "web", Command: "./web --port {port}", Source: "web", Isolation: "namespace", Restart: schema.RestartOnFailure,
		StartupTimeout: 10 * time.Second, StopSignal: "SIGTERM", StopTimeout: 10 * time.Second, StoragePersist: true,
		Instances: []string{"prod"}, Fields: map[string]string{}, Origin: schema.Position{File: "tenement.toml", Line: 3},
	}
	if change != nil {
		change(s)
	}
	return s
}

func TestImageForIsHonest(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"own/Dockerfile":    {Data: []byte("FROM x\n entrypoint [\"a\"]\n")},
		"go/go.mod":         {Data: []byte("module x\n\ngo 1.25.3\n")},
		"script/run":        {Data: []byte("#!/usr/bin/env -S python3 -u\n")},
		"odd/run":           {Data: []byte("#!/opt/odd\n")},
		"elf/web":           {Data: []byte("\x7fELF....")},
		"text/web":          {Data: []byte("hello")},
		"node/package.json": {Data: []byte("{}")},
		"node/.nvmrc":       {Data: []byte("v20.11.0\n")},
	}
	tests := map[string]struct {
		source, command, build string
		want                   []string // in the Dockerfile, in order
		refused                string   // in the reason
	}{
		"own":             {source: "own", command: "anything"},
		"go":              {source: "go", command: "./web", build: "go build -o web .", want: []string{"FROM golang:1.25-trixie AS build", `RUN ["/bin/sh", "-c", "go build -o web ."]`, "FROM debian:trixie-slim", "COPY --from=build /app /app"}},
		"make":            {source: "go", command: "./web", build: "make web", want: []string{"golang:1.25", "debian:"}},
		"c":               {source: "none", command: "./web", build: "make web", want: []string{"gcc:14", "debian:"}},
		"node":            {source: "node", command: "node app.js", build: "npm ci && npm run build", want: []string{"FROM node:20-trixie AS build", "FROM node:20-trixie-slim"}},
		"script":          {source: "script", command: "./run", want: []string{"FROM python:3.13-slim-trixie", "COPY . ."}},
		"binary":          {source: "elf", command: "./web", want: []string{"FROM debian:trixie-slim"}},
		"shell":           {source: "none", command: "sh -c 'sleep 1'", want: []string{"FROM debian:trixie-slim"}},
		"odd script":      {source: "odd", command: "./run", refused: "odd/run is a script for odd"},
		"text":            {source: "text", command: "./web", refused: "neither a program nor a script"},
		"absent":          {source: "none", command: "./web", refused: "no build that makes it"},
		"of the host":     {source: "none", command: "/usr/sbin/nginx", refused: "a file of the host"},
		"unknown":         {source: "none", command: "postgres", refused: "no image is known to have postgres"},
		"two languages":   {source: "none", command: "./web", build: "npm ci && go build -o web", refused: "it needs go and node in one image"},
		"unknown build":   {source: "none", command: "./web", build: "bazel build //web", refused: "which image can build it"},
		"quote left open": {source: "none", command: "sh -c 'x", refused: "does not split"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := service(func(s *schema.Service) { s.Source, s.Command, s.Build = tt.source, tt.command, tt.build })
			m := &schema.Model{Services: []*schema.Service{s}}
			image, err := ImageFor(m, s, Options{Project: "shop", Tree: tree}, ContainerLayout("compose"))
			if tt.refused != "" {
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(refused.Why, tt.refused) || refused.Nearest == "" {
					t.Fatalf("got %v, want a refusal with %q and a way out", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if own := image.Dockerfile != ""; own != (tt.want == nil) || own && !image.Entrypoint {
				t.Fatalf("image %+v", image)
			}
			rest := string(image.Generated)
			for _, w := range tt.want {
				_, after, ok := strings.Cut(rest, w)
				if !ok {
					t.Fatalf("no %q in what is left of\n%s", w, image.Generated)
				}
				rest = after
			}
		})
	}
}

func TestResolveFillsInLikeTheDaemon(t *testing.T) {
	t.Parallel()
	s := service(func(s *schema.Service) {
		s.Command = `sh -c 'exec ./web "$0"' {instance_dir}/{id}`
		s.Env = map[string]string{"URL": "http://{name}.{id}:{port}{unknown}", "HOME": "/h"}
		s.Workdir = "../sub/{id}"
	})
	in, err := Resolve(&schema.Model{}, s, "prod", ContainerLayout("compose"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(in.Argv, "|"), `sh|-c|exec ./web "$0"|/data/web/prod/prod`; got != want {
		t.Errorf("argv %s, want %s", got, want)
	}
	if in.Env["URL"] != "http://web.prod:8080{unknown}" || in.Env["PORT"] != "8080" || in.Env["HOME"] != "/h" || in.Dir != "/app/sub/prod" {
		t.Errorf("got %+v", in)
	}
	for name, change := range map[string]func(s *schema.Service){
		"env.A":   func(s *schema.Service) { s.Env = map[string]string{"A": "\x00"} },
		"command": func(s *schema.Service) { s.Args = []string{"\xff"} },
	} {
		var refused *RefusedError
		if _, err := Resolve(&schema.Model{}, service(change), "prod", ContainerLayout("compose")); !errors.As(err, &refused) || refused.Field != name {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestListenOf(t *testing.T) {
	t.Parallel()
	for want, change := range map[Listen]func(s *schema.Service){
		ListenPort:    nil,
		ListenSocket:  func(s *schema.Service) { s.Command = "./web --listen {socket}" },
		ListenNowhere: func(s *schema.Service) { s.Command, s.Health = "./worker", schema.HealthNone },
	} {
		if got := ListenOf(service(change)); got != want {
			t.Errorf("listens at %s, want %s", got, want)
		}
	}
}

func TestRunTellsWhatIsUnsaid(t *testing.T) {
	t.Parallel()
	s := service(func(s *schema.Service) {
		s.Fields = map[string]string{"port": "1", "idle_timeout": "5", "env.A": `"x"`, "source.tree": `"t"`, "min_healthy": "3"}
	})
	m := &schema.Model{Services: []*schema.Service{s}, Fields: map[string]string{"routing.path./a.b": `"web"`, "settings.data_dir": `"/d"`}}
	target := Target{Name: "x", Uses: []Use{
		{Field: "port", Kind: Carried}, {Field: "idle_timeout", Kind: Lost, Why: "no idle"}, {Field: "env", Kind: Lost, Why: "no env"},
		{Field: "routing.path", Kind: Lost, Why: "no routes"}, {Field: "settings.data_dir", Kind: Converted},
	}, Export: func(*schema.Model, Options) (Bundle, []Loss, error) {
		return Bundle{Files: []File{{Path: "b"}, {Path: "a/c"}}}, []Loss{{Service: "web", Field: "env.A", Kind: Converted, Why: "mine"}}, nil
	}}
	b, losses, err := Run(target, m, Options{Project: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range losses {
		got = append(got, l.Service+" "+l.Field+": "+l.Why)
	}
	want := " routing.path./a.b: no routes\nweb env.A: mine\nweb idle_timeout: no idle\nweb min_healthy: this build of ten does not export it"
	if strings.Join(got, "\n") != want || b.Files[0].Path != "a/c" {
		t.Errorf("got %q\nwant %q\nfiles %v", got, want, b.Files)
	}
	for _, bad := range []string{"../x", "/x", "", "b"} {
		broken := Target{Export: func(*schema.Model, Options) (Bundle, []Loss, error) {
			return Bundle{Files: []File{{Path: "b"}, {Path: bad}}}, nil, nil
		}}
		if _, _, err := Run(broken, m, Options{Project: "p"}); err == nil {
			t.Errorf("a file %q went through", bad)
		}
	}
	for _, project := range []string{"", "-a", "A", "1a", "a-", strings.Repeat("a", 31), "a\n"} {
		var invalid *InvalidError
		if _, _, err := Run(target, m, Options{Project: project}); !errors.As(err, &invalid) {
			t.Errorf("project %q: %v", project, err)
		}
		if name := ProjectName(project); !validProject(name) {
			t.Errorf("ProjectName(%q) = %q", project, name)
		}
	}
}

func TestLoopbackIsTold(t *testing.T) {
	t.Parallel()
	s := service(func(s *schema.Service) {
		s.Command, s.Env = "./web --listen 127.0.0.1:{port}", map[string]string{"DB_HOST": "localhost", "NAME": "localhost.example"}
	})
	_, losses, err := Instances(&schema.Model{Services: []*schema.Service{s}}, ContainerLayout("compose"))
	if err != nil || len(losses) != 2 || losses[0].Field != "command" || losses[1].Field != "env.DB_HOST" {
		t.Errorf("told %+v, %v", losses, err)
	}
}
