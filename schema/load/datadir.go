package load

// DataDir reads settings.data_dir out of a tenement.toml, as written; "" where it
// is not. It judges nothing else and reads a file with faults as far as it goes,
// so that a broken config hides no running daemon from who looks for it.
func DataDir(config []byte) string {
	root, _ := parseTOML(&file{data: config})
	if dir := root.child("settings").child("data_dir"); dir != nil && dir.kind == stringNode {
		return dir.text
	}
	return ""
}
