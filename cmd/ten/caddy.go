package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/install"
	"github.com/tenement/ten/schema"
)

// caddyOptions are the flags of ten caddy.
type caddyOptions struct {
	domain, output, provider string
	port                     int
	install, systemd, dryRun bool
}

func newCaddyCommand(e *env) *cobra.Command {
	var o caddyOptions
	cmd := &cobra.Command{
		Use:   "caddy",
		Short: "Write the config of a Caddy that stands in front of ten",
		Long: `caddy prints a Caddyfile for the services of the nearest tenement.toml upward.
Without a DNS provider every host name is listed, since a wildcard certificate
needs the DNS challenge; with one, wildcards cover them all.

--install installs Caddy with the system's package manager; --systemd writes
/etc/caddy/Caddyfile (or --output) and starts Caddy with it.` + exitText,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCaddy(cmd.Context(), e, o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.domain, "domain", "d", "", "domain that leads to this host (needed)")
	f.IntVarP(&o.port, "port", "p", defaultPort, "port that ten serve takes requests on")
	f.StringVarP(&o.output, "output", "o", "", "file to write (default: standard output)")
	f.StringVar(&o.provider, "dns-provider", "", "who serves the domain's DNS, for wildcard certificates")
	f.BoolVar(&o.install, "install", false, "install Caddy with the system's package manager")
	f.BoolVar(&o.systemd, "systemd", false, "put the file in place, and start Caddy with it")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be done, and touch nothing")
	return cmd
}

func runCaddy(ctx context.Context, e *env, o caddyOptions) error {
	o.domain = strings.ToLower(strings.TrimSuffix(o.domain, "."))
	switch {
	case o.domain == "":
		return &usageError{errors.New("--domain is missing: the domain that leads to this host")}
	case !schema.ValidDomain(o.domain):
		return &usageError{fmt.Errorf("--domain %q: want a domain, for example example.com", o.domain)}
	case o.port < 1 || o.port > 65535:
		return &usageError{fmt.Errorf("--port %d: want a port from 1 to 65535", o.port)}
	case strings.ContainsFunc(o.provider, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }):
		return &usageError{fmt.Errorf("--dns-provider %q: want a name, for example cloudflare", o.provider)}
	}
	if (o.install || o.systemd) && !o.dryRun && os.Geteuid() != 0 {
		return &hintError{errors.New("--install and --systemd are for root"), "run it with sudo, or look at it first: --dry-run"}
	}
	c := install.CaddyOptions{Domain: o.domain, Port: o.port, Provider: o.provider}
	if config := e.nearestConfig(); config != "" {
		if err := e.caddyHosts(ctx, filepath.Dir(config), &c); err != nil {
			return err
		}
	}
	text := install.Caddyfile(c)
	var steps []install.Step
	if o.install {
		command, err := packageManager()
		if err != nil {
			return err
		}
		steps = append(steps, install.Step{Command: command})
	}
	if o.systemd && o.output == "" {
		o.output = "/etc/caddy/Caddyfile"
	}
	if o.output != "" {
		steps = append(steps, install.Step{Path: e.abs(o.output), Text: text, Mode: 0o644})
	}
	if o.systemd {
		steps = append(steps, install.Step{Command: []string{"systemctl", "enable", "--now", "caddy"}}, install.Step{Command: []string{"systemctl", "reload-or-restart", "caddy"}})
	}
	if err := e.carryOut(ctx, steps, "/", o.dryRun); err != nil || o.output != "" {
		return err
	}
	_, err := fmt.Fprint(e.stdout, text)
	return err
}

// packageManager is how this system installs Caddy.
func packageManager() ([]string, error) {
	for _, command := range [][]string{
		{"apt-get", "install", "-y", "caddy"}, {"dnf", "install", "-y", "caddy"}, {"yum", "install", "-y", "caddy"}, {"pacman", "-S", "--noconfirm", "caddy"},
	} {
		if _, err := exec.LookPath(command[0]); err == nil {
			return command, nil
		}
	}
	return nil, &hintError{errors.New("no package manager that is known here: apt-get, dnf, yum, pacman"), "install Caddy by hand, and leave --install out"}
}

// caddyHosts adds what a directory's config declares.
func (e *env) caddyHosts(ctx context.Context, dir string, c *install.CaddyOptions) error {
	_, model, err := e.loadDir(ctx, dir)
	if err != nil {
		return err
	}
	for _, s := range model.Services {
		c.Services = append(c.Services, s.Name)
		c.Hosts = append(c.Hosts, s.Name+"."+c.Domain)
		for _, id := range s.Instances {
			c.Hosts = append(c.Hosts, id+"."+s.Name+"."+c.Domain)
		}
		c.Hosts = append(append(c.Hosts, s.Domains...), slices.Sorted(maps.Keys(s.InstanceDomains))...)
	}
	for _, host := range slices.Sorted(maps.Keys(model.Routing.Subdomain)) {
		if !strings.HasPrefix(host, "*.") || c.Provider != "" {
			c.Hosts = append(c.Hosts, host)
		}
	}
	return nil
}
