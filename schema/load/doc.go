// Package load turns a tree of files into a schema.Model, or into all that is
// wrong with them: every fault of a run at once, each at its place in a file.
//
// It reads tenement.toml and *.cue at the root, services/*.toml and
// services/*.cue, and policy: any *.cue file of package tenement, wherever it
// lies. A file of services/ holds either [service.NAME] tables, or the fields
// of one service at top level, whose name is then the file's.
//
// A load has five stages, and a fault in one hides none of another stage that
// can still be judged:
//
//	survey    which files configure ten, which links the tree holds
//	read      TOML to nodes that remember their place; CUE in a child process
//	check     unknown and missing fields, kinds, rules of Go; then CUE judges
//	assemble  duplicates, defaults, source trees, rules between services
//	policy    the repository's own CUE, in the same child process
//
// Lines and columns are worked out only when a fault must be shown. What was
// judged once is not judged again: files by their git id, services by content.
package load
