package source

// Credentials say how to prove who asks. Files are read at each use, so that a token or
// key can be replaced while ten runs.
type Credentials struct {
	Username   string   // for https; "" is the one in the URL, or "git"
	TokenFile  string   // for https: password or access token, alone in the file
	CAFile     string   // for https: PEM certificates to trust besides the system's; read once
	SSHKeyFile string   // for ssh; "" asks the agent
	Passphrase string   // file with the passphrase of SSHKeyFile
	Agent      string   // socket of an ssh agent, as in SSH_AUTH_SOCK
	KnownHosts []string // for ssh; none are ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

func newRemote(at *location, auth Credentials, limits Limits) (remote, error) {
	switch at.scheme {
	case "local":
		return &local{path: at.path, limits: limits}, nil
	case "git":
		return &daemon{at}, nil
	case "ssh":
		return &sshRemote{at, auth}, nil
	}
	return newHTTPRemote(at, auth)
}
