package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// Hand is what a person did to one instance by hand. It stands beside what git
// declares until a person takes it back, and every plan shows it.
type Hand struct {
	ID      runtimes.ID `json:"id"`
	Spawned bool        `json:"spawned,omitempty"` // it is to exist, declared or not
	Stopped bool        `json:"stopped,omitempty"` // it is to stand still
	Weight  *int        `json:"weight,omitempty"`  // its share of requests, in place of the declared one
	Restart uint64      `json:"restart,omitempty"` // an incarnation newer than this one is wanted
	By      string      `json:"by"`
	At      time.Time   `json:"at"`
}

// String says it in words: "web:b  spawned, weight 10".
func (h Hand) String() string {
	var what []string
	if h.Spawned {
		what = append(what, "spawned")
	}
	if h.Stopped {
		what = append(what, "stopped")
	}
	if h.Weight != nil {
		what = append(what, fmt.Sprintf("weight %d", *h.Weight))
	}
	return h.ID.String() + "  " + strings.Join(what, ", ")
}

// lasting reports that something of it stays in force, and is to be shown.
func (h Hand) lasting() bool { return h.Spawned || h.Stopped || h.Weight != nil }

// handed gives what was done to one instance.
func (r *round) handed(id runtimes.ID) Hand {
	i, found := slices.BinarySearchFunc(r.o.Hands, id, func(h Hand, id runtimes.ID) int { return h.ID.Compare(id) })
	if !found {
		return Hand{ID: id}
	}
	return r.o.Hands[i]
}

// spawned gives the instances of a service that exist by hand, sorted.
func (r *round) spawned(service string) []string {
	first, _ := slices.BinarySearchFunc(r.o.Hands, service, func(h Hand, name string) int { return strings.Compare(h.ID.Service, name) })
	var ids []string
	for ; first < len(r.o.Hands) && r.o.Hands[first].ID.Service == service; first++ {
		if r.o.Hands[first].Spawned {
			ids = append(ids, r.o.Hands[first].ID.Instance)
		}
	}
	return ids
}

// byHand is what the plan shows of it.
func (r *round) byHand() []Hand {
	var out []Hand
	for _, h := range r.o.Hands {
		if h.lasting() && r.d.Model.Service(h.ID.Service) != nil {
			out = append(out, h)
		}
	}
	return out
}

// halt lets an instance stand still that a person stopped.
func (r *round) halt(h Hand, incs []Instance) {
	r.wanted++
	if !slices.ContainsFunc(incs, func(i Instance) bool { return i.Phase.Alive() || i.Phase == runtimes.Sleeping }) {
		return
	}
	r.actions = append(r.actions, Action{
		ID: h.ID, Op: OpStop, Drift: true,
		Reason: Reason{Code: "by-hand", Text: "stopped by " + h.By},
		Old:    keys(incs),
	})
}

// renew starts a new incarnation because a person asked for it.
func (r *round) renew(s *schema.Service, h Hand, cands []candidate) {
	a := r.start(s, h.ID, OpRestart)
	a.Drift = true
	a.Reason = Reason{Code: "by-hand", Text: "restart asked for by " + h.By}
	a.Old = candidateKeys(cands)
	r.actions = append(r.actions, clash(s, a, cands))
}
