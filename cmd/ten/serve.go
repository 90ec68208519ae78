package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/host/logs"
	"github.com/tenement/ten/host/probe"
	"github.com/tenement/ten/host/tokens"
	"github.com/tenement/ten/reconcile"
	"github.com/tenement/ten/reconcile/source"
	"github.com/tenement/ten/reconcile/store"
	"github.com/tenement/ten/schema/load"
)

const serveHelp = `serve runs the daemon of this host. It follows a repository (--repo) or a
directory (DIR, else the working directory), and keeps running what the newest
good revision declares.

Instances outlive the daemon: ending it, by a signal or by a crash, stops none of
them, and the next ten serve on the same data directory takes them over. What
stops them is: ten down.

Requests are taken on port 8080 of every address, or where the flags or
[settings] say, and go to the instances by host name: SERVICE.DOMAIN,
ID.SERVICE.DOMAIN. Where 8080 is taken and nobody asked for it, the daemon goes
without, and says so.

A webhook listens only when both --webhook and a secret are given. It takes
nothing from what is sent: it only makes the daemon look at the repository now.

Exit status
  0  ended by a signal or by ten down
  1  failed
  2  wrong usage`

// serveOptions are the flags of ten serve.
type serveOptions struct {
	repo, branch, path, host string
	poll                     time.Duration
	watch                    bool
	allowedSigners, signMode string
	tokenFile, sshKey        string
	knownHosts               []string
	webhook, secretFile      string
	verbose                  bool
	front                    frontOptions
}

func (o *serveOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository to follow: https, ssh, git or a path of this machine")
	f.StringVar(&o.branch, "branch", "", "branch to follow (default: the remote's own)")
	f.StringVar(&o.path, "path", "", "directory of the repository that holds the config")
	f.StringVar(&o.host, "host", "", "name of this host (default: the machine's)")
	f.DurationVar(&o.poll, "poll", 30*time.Second, "how often to look at the repository, give or take a fifth")
	f.BoolVar(&o.watch, "watch", false, "follow edits of the directory as they are saved")
	f.StringVar(&o.allowedSigners, "allowed-signers", "", "file of those who may sign commits; unsigned revisions are refused")
	f.StringVar(&o.signMode, "sign-mode", "head", "which commits must be signed: head, or range for every new one")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the password or token for https")
	f.StringVar(&o.sshKey, "ssh-key", "", "private key file for ssh (default: the agent)")
	f.StringSliceVar(&o.knownHosts, "known-hosts", nil, "known_hosts file for ssh")
	f.StringVar(&o.webhook, "webhook", "", "address to listen on for webhooks, such as 127.0.0.1:9000")
	f.StringVar(&o.secretFile, "webhook-secret-file", "", "file with the webhook's secret (or TENEMENT_WEBHOOK_SECRET)")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log every step")
	o.front.addFlags(cmd)
}

func newServeCommand(e *env) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Run this host's daemon",
		Long:  serveHelp,
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.front.check(cmd); err != nil {
				return err
			}
			return runServe(cmd.Context(), e, o, args)
		},
	}
	o.addFlags(cmd)
	return cmd
}

// follower is a source that must be closed.
type follower interface {
	reconcile.Source
	Close() error
}

func runServe(ctx context.Context, e *env, o serveOptions, args []string) error {
	debug.SetGCPercent(gcPercent)
	log := o.logger(e)
	if err := o.nameHost(); err != nil {
		return err
	}
	dir, dataDir, err := e.places(o, args)
	if err != nil {
		return err
	}
	inner := filepath.Join(dataDir, stateDir)
	if err := os.MkdirAll(inner, 0o755); err != nil {
		return &hintError{fmt.Errorf("data directory: %w", err), "name one that you may write to: --data-dir DIR"}
	}
	listener, err := e.listenAPI(dataDir)
	if err != nil {
		return err
	}
	defer listener.Close()
	st, err := store.Open(ctx, filepath.Join(inner, "ten.db"))
	if err != nil {
		return err
	}
	defer st.Close()
	from, origin, err := openSource(o, dir, dataDir, log)
	if err != nil {
		return err
	}
	defer from.Close()
	levels, closeLevels, err := openLevels(dataDir, log)
	if err != nil {
		return err
	}
	defer closeLevels()
	heard, err := hearInstances(dataDir, levels, log)
	if err != nil {
		return err
	}
	output := logs.New(logs.Config{Dir: filepath.Join(inner, "logs"), Log: log})
	defer output.Close(context.WithoutCancel(ctx))
	door := newFrontDoor(e, o.front, dataDir, levels, log)
	if err := door.open(ctx); err != nil {
		return err
	}
	loop := reconcile.New(reconcile.Config{
		Host: o.host, DataDir: dataDir, Version: buildVersion(), Origin: origin,
		Source: from, Loader: load.New(load.Config{Eval: evalChild, CacheDir: filepath.Join(inner, "verdicts")}), Store: st, Runtimes: levels,
		Prober: probe.Prober{}, Output: output, Log: log, Busy: heard.busy, Ready: heard.ready,
		FreePort: func(used map[int]bool) (int, error) { return probe.FreePort(firstPort, lastPort, used) },
		OpenDir: func(dir string) (*source.Snapshot, error) {
			return source.OpenDir(dir, source.DirOptions{Exclude: []string{dataDir}})
		},
		Publish: door.Publish, Traffic: door.router,
	})
	door.loop.Store(loop)
	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	group.Go(func() error {
		defer stop() // after ten down the rest goes too
		return door.runLoop(ctx, loop)
	})
	group.Go(func() error { return heard.run(ctx) })
	known, err := tokens.New(ctx, tokenKeeper{st})
	if err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	server := api.NewServer(api.Config{
		Viewer: doorView{loop, door}, Inspector: &inspector{Loop: loop, dataDir: dataDir}, Actor: loop, Logs: logView{output},
		Tokens: known, Audit: auditLog{st}, Herald: loop, Door: door, Log: log,
	})
	door.run(ctx, group, api.NewFront(ctx, server, door.source))
	group.Go(func() error { return server.Serve(ctx, listener) })
	if err := serveWebhook(ctx, group, e, o, from.Hint, log); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	log.Info("daemon started", "host", o.host, "reason", origin+" in "+dataDir)
	return errors.Join(group.Wait(), door.endWithHost(context.WithoutCancel(ctx), levels))
}

// listenAPI takes the data directory and opens its socket, or has it from the
// service manager.
func (e *env) listenAPI(dataDir string) (net.Listener, error) {
	if e.manager != nil {
		if l := e.manager.Take("api", 0); l != nil {
			return api.ListenOn(dataDir, l)
		}
	}
	return api.Listen(dataDir)
}

// logger tells every step where that was asked for.
func (o *serveOptions) logger(e *env) *slog.Logger {
	if !o.verbose {
		return e.log
	}
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// nameHost gives the host the machine's name where it was given none.
func (o *serveOptions) nameHost() error {
	if o.host != "" {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this host: %w", err)
	}
	o.host = strings.ToLower(strings.SplitN(name, ".", 2)[0])
	return nil
}

// gcPercent trades a little of an idle daemon's processor time for memory on
// hosts that are there for their instances.
const gcPercent = 40

// Ports promised to instances: those of the Rust tenement.
const (
	firstPort = 30000
	lastPort  = 40000
)

// places gives the directory to serve ("" with --repo) and the data directory, absolute.
func (e *env) places(o serveOptions, args []string) (dir, dataDir string, err error) {
	if o.repo != "" {
		if len(args) > 0 {
			return "", "", &usageError{errors.New("either a directory or --repo, not both")}
		}
		named := e.dataDir
		if named == "" {
			named = e.getenv(envDataDir)
		}
		if named == "" {
			named = defaultDataDir
		}
		return "", e.abs(named), nil
	}
	dir = e.dir
	if len(args) > 0 {
		dir = e.abs(args[0])
	}
	if _, err := os.Stat(dir); err != nil {
		return "", "", &hintError{fmt.Errorf("directory to serve: %w", err), "name a directory with a tenement.toml, or follow a repository: --repo URL"}
	}
	if !hasConfig(dir) {
		return "", "", &hintError{fmt.Errorf("no config in %s", dir), "write a tenement.toml there, name another directory, or follow a repository: --repo URL"}
	}
	dataDir, err = e.dataDirFrom(dir)
	return dir, dataDir, err
}

// hasConfig reports whether a directory has anything that ten would read.
func hasConfig(dir string) bool {
	for _, pattern := range []string{configName, "*.cue", "services/*.toml", "services/*.cue"} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// openSource makes what revisions come from, and its name for people.
func openSource(o serveOptions, dir, dataDir string, log *slog.Logger) (follower, string, error) {
	if o.repo == "" {
		d, err := source.NewDir(source.DirConfig{Dir: dir, DirOptions: source.DirOptions{Exclude: []string{dataDir}}, Watch: o.watch, Log: log})
		return d, dir, err
	}
	g, err := source.NewGit(source.GitConfig{
		URL: o.repo, Branch: o.branch, Path: o.path, Host: o.host,
		MirrorDir:      filepath.Join(dataDir, stateDir, "mirror"),
		AllowedSigners: o.allowedSigners, SignMode: source.SignMode(o.signMode),
		Auth: source.Credentials{TokenFile: o.tokenFile, SSHKeyFile: o.sshKey, KnownHosts: o.knownHosts, Agent: os.Getenv("SSH_AUTH_SOCK")},
		Poll: o.poll, Log: log,
	})
	if err != nil {
		return nil, "", err
	}
	return g, g.URL(), nil
}

// serveWebhook listens for hints. Without a secret there is no webhook.
func serveWebhook(ctx context.Context, group *errgroup.Group, e *env, o serveOptions, hint func(), log *slog.Logger) error {
	if o.webhook == "" {
		return nil
	}
	secret := func() []byte {
		if o.secretFile == "" {
			return []byte(e.getenv("TENEMENT_WEBHOOK_SECRET"))
		}
		b, err := os.ReadFile(e.abs(o.secretFile)) // at each use, so that it can be replaced
		if err != nil {
			log.Warn("webhook secret can't be read", "err", err)
		}
		return bytes.TrimSpace(b)
	}
	handler, err := source.NewWebhook(source.WebhookConfig{Secret: secret, Hint: hint})
	if err != nil {
		return &hintError{err, "give a secret: --webhook-secret-file FILE"}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.webhook)
	if err != nil {
		return fmt.Errorf("listen for webhooks: %w", err)
	}
	srv := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	group.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve webhooks: %w", err)
		}
		return nil
	})
	context.AfterFunc(ctx, func() { srv.Close() })
	log.Info("webhook opened", "reason", "listening on "+l.Addr().String())
	return nil
}

// logView shows the collector's lines through the API.
type logView struct{ output *logs.Collector }

// Write writes the lines that q selects.
func (v logView) Write(ctx context.Context, w io.Writer, q api.LogQuery) error {
	return v.output.Write(ctx, w, logs.Query(q))
}
