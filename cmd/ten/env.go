package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tenement/ten/host/activation"
	"github.com/tenement/ten/host/api"
	"github.com/tenement/ten/schema"
	"github.com/tenement/ten/schema/load"
)

// env is all of the outside world that a command may touch besides the daemon
// and the files it is pointed to.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	dir            string // working directory
	log            *slog.Logger
	getenv         func(string) string
	manager        *activation.Manager // that started this process, if one did

	server, dataDir, token string // the global flags
}

const (
	envServer  = "TENEMENT_SERVER"
	envDataDir = "TENEMENT_DATA_DIR"
	envToken   = "TENEMENT_TOKEN"

	configName     = "tenement.toml"
	defaultDataDir = "tenement-data"
	systemDataDir  = "/var/lib/tenement"
)

// serverURL is the address that was given instead of a data directory, or "".
func (e *env) serverURL() string {
	if e.server == "" && e.dataDir == "" {
		return e.getenv(envServer)
	}
	return e.server
}

// isRemote reports whether the host's own files may be out of reach.
func (e *env) isRemote() bool { return e.serverURL() != "" }

// client gives a client of the daemon that the command line means.
func (e *env) client() (*api.Client, error) { return e.clientFrom(e.dir) }

// clientFrom is client for a command that is about a directory: the nearest
// config is searched from there.
func (e *env) clientFrom(start string) (*api.Client, error) {
	if server := e.serverURL(); server != "" {
		c, err := api.NewClient(server)
		if err != nil {
			return nil, &usageError{err}
		}
		if strings.HasPrefix(server, "unix:") {
			return c, nil // the kernel tells who asks
		}
		token, err := e.findToken(start)
		return c.WithToken(token), err
	}
	dir, err := e.dataDirFrom(start)
	if err != nil {
		return nil, err
	}
	return api.NewLocalClient(dir), nil
}

// findToken gives the token that was named, or else the one that ten token-gen
// saved in the data directory; "" where there is none.
func (e *env) findToken(start string) (string, error) {
	for _, token := range []string{e.token, e.getenv(envToken)} {
		if token != "" {
			return token, nil
		}
	}
	dir, err := e.dataDirFrom(start)
	if err != nil {
		return "", nil // a config with a fault is no reason not to ask a server
	}
	file := filepath.Join(dir, tokenFile)
	data, err := os.ReadFile(file)
	switch token := strings.TrimSpace(string(data)); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("token: %w", err)
	case token == "":
		return "", &hintError{fmt.Errorf("%s is empty", file), "make a token: ten token-gen"}
	default:
		return token, nil
	}
}

// localUser is who runs this command.
func localUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// findDataDir gives the data directory that the command line means, absolute.
func (e *env) findDataDir() (string, error) { return e.dataDirFrom(e.dir) }

// dataDirFrom gives what was named on the command line, in the environment or by
// the nearest config from start upward, or the first of the usual places that
// exists, or the first of them.
func (e *env) dataDirFrom(start string) (string, error) {
	named := e.dataDir
	if named == "" {
		named = e.getenv(envDataDir)
	}
	if named != "" {
		return e.abs(named), nil
	}
	places := []string{filepath.Join(start, defaultDataDir), systemDataDir}
	if config := configAbove(start); config != "" {
		written, err := writtenDataDir(config)
		if err != nil || written != "" {
			return written, err
		}
		places = append([]string{filepath.Join(filepath.Dir(config), defaultDataDir)}, places...)
	}
	for _, dir := range places {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return places[0], nil
}

// writtenDataDir is the data directory that a config names, absolute: a relative
// one counts from the config.
func writtenDataDir(config string) (string, error) {
	f, err := os.Open(config)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, schema.MaxFileSize))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", config, err)
	}
	dir := load.DataDir(data)
	if dir != "" && !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(config), dir)
	}
	return dir, nil
}

// nearestConfig is the path of the closest tenement.toml upward, or "".
func (e *env) nearestConfig() string { return configAbove(e.dir) }

// configAbove is nearestConfig from start upward.
func configAbove(start string) string {
	for dir := start; ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, configName)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// abs reads a path as the person who typed it: from the working directory.
func (e *env) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(e.dir, path)
}

// errOutputClosed says that whoever read standard output has seen enough.
var errOutputClosed = errors.New("standard output was closed")

// output is standard output. It tells a reader that left from a real failure.
type output struct{ w io.Writer }

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errOutputClosed
	}
	return n, err
}
