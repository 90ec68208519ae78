//go:build !race

package reconcile

import "time"

const raced = false

const long = time.Hour
