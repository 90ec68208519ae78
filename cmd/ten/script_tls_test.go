package main

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tenement/ten/host/certs/certstest"
)

// startAuthority runs an ACME authority that looks for its challenges on two
// ports of the loopback, whatever the name. ACME is its directory, ACME_ROOT the
// root of its HTTPS, ACME_ISSUES what its certificates chain up to:
//
//	authority HTTP-PORT HTTPS-PORT
func startAuthority(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: authority HTTP-PORT HTTPS-PORT")
	}
	resolver, end, err := certstest.NewResolver()
	ts.Check(err)
	ts.Defer(end)
	http, err := strconv.Atoi(args[0])
	ts.Check(err)
	https, err := strconv.Atoi(args[1])
	ts.Check(err)
	dir := filepath.Join(ts.Getenv("WORK"), ".authority")
	ts.Check(os.MkdirAll(dir, 0o755))
	a, err := certstest.NewAuthority(dir, http, https, resolver)
	ts.Check(err)
	ts.Defer(a.Close)
	ts.Setenv("ACME", a.URL)
	ts.Setenv("ACME_ROOT", a.RootFile)
	ts.Setenv("ACME_ISSUES", a.IssuesFile)
}
