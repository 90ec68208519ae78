package schema

import _ "embed"

// CUE is the source of tenement.cue, the definition of every field a config may
// have. Only schema/load compiles it.
//
//go:embed tenement.cue
var CUE string
