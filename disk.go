package hexrd

import "golang.org/x/sys/unix"

// diskSpace is what the file system of dir has for this process, and its size,
// in bytes; zero where that can't be told.
func diskSpace(dir string) (free, total uint64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize)
}
