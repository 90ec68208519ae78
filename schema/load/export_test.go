package load

// Judged reports whether CUE found something good that was not known before.
func Judged(l *Loader) bool { return l.accepted.grew }
