package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/certs"
	"github.com/tenement/ten/host/install"
	"github.com/tenement/ten/schema"
)

// installOptions are the flags of ten install.
type installOptions struct {
	domain, config, repo, branch string
	port                         int
	dryRun, caddy, tls           bool
	provider, email, root        string
}

func newInstallCommand(e *env) *cobra.Command {
	var o installOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make this host run ten: units, directories, sockets",
		Long: `install copies ten to /usr/local/bin, a config to /etc/tenement (--config, or the
nearest tenement.toml upward) or follows a repository (--repo), and writes the
units of systemd: the daemon, and its listening sockets, which stay open while the
daemon is replaced. Credentials of a DNS provider belong in
/etc/tenement/environment, which nobody but root may read.

--dry-run prints every step and all that would be written, and touches nothing.
--root puts all files beneath another directory, and runs no command.

Exit status
  0  installed
  1  failed; what was done until then stays, and install can be run again
  2  wrong usage`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runInstall(cmd.Context(), e, o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "domain that leads to this host (needed)")
	f.IntVarP(&o.port, "port", "p", 0, "port for plain HTTP (default: 8080, or 80 with --tls)")
	f.StringVarP(&o.config, "config", "c", "", "tenement.toml to install (default: the nearest one upward)")
	f.StringVar(&o.repo, "repo", "", "repository to follow, instead of a config")
	f.StringVar(&o.branch, "branch", "", "its branch (default: the repository's own)")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be done, and touch nothing")
	f.BoolVar(&o.caddy, "caddy", false, "put Caddy in front: write /etc/caddy/Caddyfile, and listen on the loopback only")
	f.StringVar(&o.provider, "dns-provider", "", "who serves the domain's DNS, for wildcard certificates")
	f.BoolVar(&o.tls, "tls", false, "take requests by HTTPS, with certificates obtained by ACME")
	f.StringVar(&o.email, "email", "", "address that the certificate authority writes to; needed with --tls")
	f.StringVar(&o.root, "root", "/", "directory to install beneath; other than /, no command is run")
	return cmd
}

// check refuses what can't be meant.
func (o *installOptions) check() error {
	o.domain = strings.ToLower(strings.TrimSuffix(o.domain, "."))
	switch {
	case o.domain == "":
		return &usageError{errors.New("--domain is missing: the domain that leads to this host")}
	case !schema.ValidDomain(o.domain):
		return &usageError{fmt.Errorf("--domain %q: want a domain, for example example.com", o.domain)}
	case o.port < 0 || o.port > 65535:
		return &usageError{fmt.Errorf("--port %d: want a port from 1 to 65535", o.port)}
	case o.config != "" && o.repo != "":
		return &usageError{errors.New("either --config or --repo, not both")}
	case o.tls && o.caddy:
		return &usageError{errors.New("either --tls or --caddy: with Caddy in front it holds the certificates")}
	case o.tls && o.email == "" || !o.tls && o.email != "":
		return &usageError{errors.New("--tls and --email belong together")}
	case o.provider != "" && !o.caddy && !o.tls:
		return &usageError{errors.New("--dns-provider is for --caddy or --tls")}
	case o.tls && o.provider != "" && certs.Variables(o.provider) == nil:
		return &usageError{fmt.Errorf("--dns-provider %q is not known to ten", o.provider)}
	}
	if o.port == 0 {
		o.port = defaultPort
		if o.tls {
			o.port = 80
		}
	}
	return nil
}

func runInstall(ctx context.Context, e *env, o installOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	options, err := e.installOptions(ctx, o)
	if err != nil {
		return err
	}
	if !o.dryRun && o.root == "/" && os.Geteuid() != 0 {
		return &hintError{errors.New("only root can install"), "run it with sudo, or look at it first: --dry-run"}
	}
	return e.carryOut(ctx, install.Plan(options), o.root, o.dryRun)
}

// installOptions finds out what the flags leave open.
func (e *env) installOptions(ctx context.Context, o installOptions) (install.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return install.Options{}, fmt.Errorf("where is ten: %w", err)
	}
	opts := install.Options{
		Domain: o.domain, Port: o.port, Self: self, Repo: o.repo, Branch: o.branch, TLS: o.tls, Email: o.email, Provider: "",
	}
	if o.tls {
		opts.Provider = o.provider
	}
	if o.repo == "" {
		config := o.config
		if config == "" {
			config = e.nearestConfig()
		}
		if config == "" {
			return opts, &hintError{fmt.Errorf("no %s in %s or above it", configName, e.dir), "name one with --config FILE, or follow a repository: --repo URL"}
		}
		opts.Config = e.abs(config)
		if info, err := os.Stat(opts.Config); err != nil || !info.Mode().IsRegular() {
			return opts, fmt.Errorf("config %s: not a file that can be read", config)
		}
		if err := e.standsAlone(ctx, opts.Config); err != nil {
			return opts, err
		}
	}
	for _, v := range certs.Variables(opts.Provider) {
		opts.Variables = append(opts.Variables, [2]string{v.Name, v.About})
	}
	if o.caddy {
		opts.Bind = "127.0.0.1"
		c := install.CaddyOptions{Domain: o.domain, Port: o.port, Provider: o.provider}
		if opts.Config != "" {
			if err := e.caddyHosts(ctx, filepath.Dir(opts.Config), &c); err != nil {
				return opts, err
			}
		}
		opts.Caddy = install.Caddyfile(c)
	}
	return opts, nil
}

// standsAlone refuses a config that is only a part of what runs: the rest would
// not be on the host.
func (e *env) standsAlone(ctx context.Context, config string) error {
	dir := filepath.Dir(config)
	_, model, err := e.loadDir(ctx, dir)
	if err != nil {
		return err
	}
	follow := "follow the repository instead: --repo URL, or the path of a clone on this host"
	for _, pattern := range []string{"*.cue", "services/*.toml", "services/*.cue"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil && len(found) > 0 {
			return &hintError{fmt.Errorf("config %s: %s belongs to it too, and only %s would be installed", config, found[0], configName), follow}
		}
	}
	for _, s := range model.Services {
		made := s.Source
		if (made == "" || made == ".") && !strings.HasPrefix(s.Command, "./") {
			continue // of nothing but its command
		}
		return &hintError{fmt.Errorf("config %s: service %s is made of what is in %s, which would not be installed", config, s.Name, filepath.Join(dir, made)), follow}
	}
	return nil
}

// carryOut does the steps in order beneath a root, or only prints them.
func (e *env) carryOut(ctx context.Context, steps []install.Step, root string, dryRun bool) error {
	root = e.abs(root)
	changed := changes(steps, root)
	for _, s := range steps {
		if (s.Replaces != "" && !changed[s.Replaces]) || (s.Remove && !changed[s.Path]) {
			continue
		}
		if _, err := fmt.Fprintln(e.stdout, s); err != nil {
			return err
		}
		if dryRun {
			if _, err := io.WriteString(e.stdout, indent(s.Text)); err != nil {
				return err
			}
			continue
		}
		if s.Command != nil && root != "/" {
			fmt.Fprintln(e.stdout, "    left out: --root is not /")
			continue
		}
		if err := do(ctx, s, root); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// changes are the files that are there, and will not be as they are.
func changes(steps []install.Step, root string) map[string]bool {
	changed := map[string]bool{}
	for _, s := range steps {
		if s.Path == "" || s.Dir || s.Keep {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, s.Path))
		changed[s.Path] = err == nil && (s.Remove || s.From != "" || string(text) != s.Text)
	}
	return changed
}

// do carries out one step.
func do(ctx context.Context, s install.Step, root string) error {
	path := filepath.Join(root, s.Path)
	switch {
	case s.Command != nil:
		out, err := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...).CombinedOutput()
		if err != nil && !s.Lenient {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	case s.Remove:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	case s.Dir:
		return os.MkdirAll(path, s.Mode)
	}
	if _, err := os.Lstat(path); err == nil && s.Keep {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text := []byte(s.Text)
	if s.From != "" {
		var err error
		if text, err = os.ReadFile(s.From); err != nil {
			return err
		}
	}
	return renameio.WriteFile(path, text, s.Mode, renameio.IgnoreUmask())
}

// indent sets a file's text off from the steps.
func indent(text string) string {
	if text == "" {
		return ""
	}
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

func newUninstallCommand(e *env) *cobra.Command {
	var root string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take the units of ten install away again",
		Long: `uninstall stops the daemon and removes its units. It keeps the config, the data,
the credentials and the binary; instances go on running: to stop them, run ten
down first.` + exitText,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !dryRun && root == "/" && os.Geteuid() != 0 {
				return &hintError{errors.New("only root can uninstall"), "run it with sudo, or look at it first: --dry-run"}
			}
			if err := e.carryOut(cmd.Context(), install.Undo(), root, dryRun); err != nil {
				return err
			}
			_, err := fmt.Fprintf(e.stdout, "kept: %s, %s, %s\n", install.ConfigDir, install.DataDir, install.Binary)
			return err
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done, and touch nothing")
	cmd.Flags().StringVar(&root, "root", "/", "directory that ten was installed beneath; other than /, no command is run")
	return cmd
}
