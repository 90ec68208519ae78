package api

import (
	"fmt"
	"net/http"
)

// route is one address of the API. Who may use it stands beside it, and a
// handler that serves tenants asks own, or shows only what mayTouch allows.
type route struct {
	pattern string
	need    need
	serve   func(http.ResponseWriter, *http.Request) error
}

// routes is the one list of them.
func (s *Server) routes() []route {
	return []route{
		{"GET /v1/status", needLook, s.status},
		{"GET /v1/instances", needLook, s.instances},
		{"GET /v1/why", needLook, s.why},
		{"GET /v1/history", needLook, s.history},
		{"GET /v1/logs", needLook, s.logs},
		{"POST /v1/observe", needLook, s.observe},
		{"POST /v1/command", needAct, s.command},
		{"POST /v1/apply", needAct, s.apply},

		{"GET /api/tokens", needAct, s.listTokens},
		{"POST /api/tokens", needAct, s.createToken},
		{"DELETE /api/tokens/{id}", needAct, s.revokeToken},
		{"GET /api/audit", needLook, s.audit},

		{"/", needNothing, noRoute},
	}
}

func noRoute(_ http.ResponseWriter, r *http.Request) error {
	return &Error{Code: CodeNotFound, Message: fmt.Sprintf("no such address: %s %s", r.Method, r.URL.Path), Hint: "the daemon may be older than this ten: ten version, ten status"}
}
