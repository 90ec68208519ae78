// Package install says what makes a host run ten: the files, directories and
// commands, as a list that is shown and carried out as it stands. It decides
// from its options alone and asks the machine nothing.
package install

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Where things are put.
const (
	Binary      = "/usr/local/bin/ten"
	ConfigDir   = "/etc/tenement"
	DataDir     = "/var/lib/tenement"
	Environment = ConfigDir + "/environment"
	unitDir     = "/etc/systemd/system"
	Service     = "tenement.service"
	apiSocket   = "tenement-api.socket"
	httpSocket  = "tenement-http.socket"
	httpsSocket = "tenement-https.socket"
	caddyFile   = "/etc/caddy/Caddyfile"
)

// Options are what a host is to be.
type Options struct {
	Domain   string
	Port     int    // of plain HTTP
	Bind     string // "" = every address
	Self     string // the ten to install
	Config   string // a tenement.toml to install; "" with Repo
	Repo     string // the repository to follow
	Branch   string
	TLS      bool
	Email    string
	Provider string // of the domain's DNS, with TLS; "" = none
	// Caddy is a Caddyfile to put in place; "" = none.
	Caddy string
	// Variables are those that credentials come in, with what they are.
	Variables [][2]string
}

// Step is one thing to do: a directory or file to make, a file to remove, or a
// command to run.
type Step struct {
	Path    string // from the root of the host; "" = Command is run
	Mode    fs.FileMode
	Text    string // of the file
	From    string // a file of this machine to copy instead
	Dir     bool
	Keep    bool // a file that is there stays as it is
	Remove  bool
	Command []string
	Lenient bool // the command may fail: what it undoes may not be there
	// Replaces is the file whose going, or becoming another, the command is for: it
	// is left out where the file is not there, or stays as it is.
	Replaces string
}

// String says the step in words.
func (s Step) String() string {
	switch {
	case s.Command != nil:
		return "run " + strings.Join(s.Command, " ")
	case s.Remove:
		return "remove " + s.Path
	case s.Dir:
		return fmt.Sprintf("make directory %s (%04o)", s.Path, s.Mode)
	case s.From != "":
		return fmt.Sprintf("copy %s to %s (%04o)", s.From, s.Path, s.Mode)
	case s.Keep:
		return fmt.Sprintf("write %s (%04o) unless it is there", s.Path, s.Mode)
	}
	return fmt.Sprintf("write %s (%04o)", s.Path, s.Mode)
}

// Plan is what to do, in order.
func Plan(o Options) []Step {
	steps := []Step{
		{Path: ConfigDir, Dir: true, Mode: 0o755},
		{Path: DataDir, Dir: true, Mode: 0o755},
		{Path: Binary, From: o.Self, Mode: 0o755},
	}
	if o.Config != "" {
		steps = append(steps, Step{Path: ConfigDir + "/tenement.toml", From: o.Config, Mode: 0o644})
	}
	steps = append(steps,
		Step{Path: Environment, Text: environment(o.Variables), Mode: 0o600, Keep: true},
		Step{Path: "/etc/sysusers.d/tenement.conf", Text: sysusers, Mode: 0o644},
		Step{Path: unitDir + "/" + Service, Text: serviceUnit(o), Mode: 0o644},
	)
	units := []string{Service}
	for _, u := range socketUnits(o) {
		if u.text == "" { // an earlier install had it
			steps = append(steps, forget(u.name), Step{Path: unitDir + "/" + u.name, Remove: true})
			continue
		}
		units = append(units, u.name)
		steps = append(steps, forget(u.name), Step{Path: unitDir + "/" + u.name, Text: u.text, Mode: 0o644})
	}
	// Starting the service starts its sockets first. Those that listen already, and
	// as they should, go on: who connects meanwhile waits.
	steps = append(steps,
		Step{Command: []string{"systemd-sysusers", "tenement.conf"}},
		Step{Command: []string{"systemctl", "daemon-reload"}},
		Step{Command: append([]string{"systemctl", "enable"}, units...)},
		Step{Command: []string{"systemctl", "restart", Service}},
	)
	if o.Caddy != "" {
		steps = append(steps, Step{Path: caddyFile, Text: o.Caddy, Mode: 0o644}, Step{Command: []string{"systemctl", "reload-or-restart", "caddy"}})
	}
	return steps
}

// unit is a file of systemd's.
type unit struct{ name, text string }

// socketUnits are those that ten can have; one without text is not wanted.
func socketUnits(o Options) []unit {
	https := unit{name: httpsSocket}
	if o.TLS {
		https.text = socketUnit("https", o.Bind, 443)
	}
	return []unit{{apiSocket, apiSocketUnit}, {httpSocket, socketUnit("http", o.Bind, o.Port)}, https}
}

// forget stops a socket that is to listen elsewhere, or no more.
func forget(name string) Step {
	return Step{Command: []string{"systemctl", "disable", "--now", name}, Lenient: true, Replaces: unitDir + "/" + name}
}

// Undo is what takes the units away again. Config, data, credentials and the
// binary stay; so do the instances that run.
func Undo() []Step {
	return []Step{
		{Command: []string{"systemctl", "disable", "--now", Service, apiSocket, httpSocket, httpsSocket}, Lenient: true},
		{Path: unitDir + "/" + Service, Remove: true},
		{Path: unitDir + "/" + apiSocket, Remove: true},
		{Path: unitDir + "/" + httpSocket, Remove: true},
		{Path: unitDir + "/" + httpsSocket, Remove: true},
		{Path: "/etc/sysusers.d/tenement.conf", Remove: true},
		{Command: []string{"systemctl", "daemon-reload"}},
	}
}

// sysusers makes the group whose members may ask the daemon how it is.
const sysusers = `# Members of this group may read the state of ten through its socket.
g tenement - -
`

// environment is the file that credentials are written to.
func environment(variables [][2]string) string {
	var b strings.Builder
	b.WriteString("# Environment of tenement.service: NAME=value, one a line. Read when it starts.\n")
	for _, v := range variables {
		fmt.Fprintf(&b, "# %s: %s\n#%s=\n", v[0], v[1], v[0])
	}
	return b.String()
}

// Command is the daemon's command line.
func Command(o Options) []string {
	args := []string{Binary, "serve"}
	if o.Repo != "" {
		args = append(args, "--repo", o.Repo)
		if o.Branch != "" {
			args = append(args, "--branch", o.Branch)
		}
	} else {
		args = append(args, ConfigDir)
	}
	args = append(args, "--data-dir", DataDir, "--domain", o.Domain, "--port", strconv.Itoa(o.Port))
	if o.Bind != "" {
		args = append(args, "--bind", o.Bind)
	}
	if o.TLS {
		args = append(args, "--tls", "--email", o.Email)
	}
	if o.Provider != "" {
		args = append(args, "--dns-provider", o.Provider)
	}
	return args
}

func serviceUnit(o Options) string {
	var line strings.Builder
	for i, arg := range Command(o) {
		if i > 0 {
			line.WriteByte(' ')
		}
		line.WriteString(quote(arg))
	}
	sockets := "Sockets=" + apiSocket + "\nSockets=" + httpSocket + "\n"
	if o.TLS {
		sockets += "Sockets=" + httpsSocket + "\n"
	}
	return `[Unit]
Description=tenement, from git push to running services
Documentation=https://github.com/tenement/ten
Wants=network-online.target
After=network-online.target
# It is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=` + line.String() + `
EnvironmentFile=-` + Environment + `
WorkingDirectory=` + DataDir + `
` + sockets + `FileDescriptorStoreMax=8
NotifyAccess=main
WatchdogSec=60
Restart=always
RestartSec=1

# Instances outlive the daemon: only ten itself is ended, and their control
# groups are its own to manage. One that is killed for memory is no fault of it.
KillMode=process
Delegate=yes
OOMPolicy=continue
OOMScoreAdjust=-500
LimitNOFILE=1024:1048576
TasksMax=infinity

# It builds walls (namespaces, control groups, a user for each instance), which
# takes root. What follows holds for the instances too, so it is what hardly any
# needs, and nothing that hides files or forbids namespaces, which walls are made of.
User=root
UMask=0022
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_RAWIO CAP_SYS_PACCT CAP_SYSLOG CAP_WAKE_ALARM CAP_MAC_ADMIN CAP_MAC_OVERRIDE
LockPersonality=yes
RestrictRealtime=yes

[Install]
WantedBy=multi-user.target
`
}

// apiSocketUnit lets the group look; what it may do, the daemon decides by who asks.
const apiSocketUnit = `[Unit]
Description=tenement, the socket that ten's commands use

[Socket]
ListenStream=` + DataDir + `/ten.sock
SocketMode=0660
SocketGroup=tenement
RemoveOnStop=yes
FileDescriptorName=api
Service=` + Service + `

[Install]
WantedBy=sockets.target
`

func socketUnit(name, bind string, port int) string {
	address := strconv.Itoa(port)
	switch {
	case strings.Contains(bind, ":"):
		address = "[" + bind + "]:" + address
	case bind != "":
		address = bind + ":" + address
	}
	return `[Unit]
Description=tenement, the listening socket for ` + name + `

[Socket]
ListenStream=` + address + `
FileDescriptorName=` + name + `
Service=` + Service + `
Backlog=4096
NoDelay=true

[Install]
WantedBy=sockets.target
`
}

// quote writes an argument so that systemd reads it back as it is.
func quote(arg string) string {
	arg = strings.NewReplacer("%", "%%", "$", "$$").Replace(arg)
	if arg != "" && !strings.ContainsAny(arg, " \t\n\"'\\;") {
		return arg
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(arg) + `"`
}
