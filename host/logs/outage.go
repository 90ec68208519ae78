package logs

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/tenement/ten/runtimes"
)

// outage is a time in which some log can't be written. It is said once when it
// begins and once when it is over, however many instances it hits: a full disk
// hits them all.
type outage struct {
	mu    sync.Mutex
	files int // that can't be written now
	lines int // lost since it began
}

func (o *outage) begin(log *slog.Logger, id runtimes.ID, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files++
	if o.files == 1 {
		log.Warn("log lines dropped", "service", id.Service, "instance", id.Instance, "err", err)
	}
}

// end takes back what one file began, with the lines that it lost.
func (o *outage) end(log *slog.Logger, lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files--
	o.lines += lost
	if o.files == 0 {
		log.Info("log lines kept again", "reason", fmt.Sprintf("%d lines were lost", o.lines))
		o.lines = 0
	}
}
