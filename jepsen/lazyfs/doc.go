// Package lazyfs puts a file system under a program that has the faults of a
// disk: it is slow, it returns errors, it is full, and on a power cut it forgets
// what was not synced, as LazyFS does. The program needs no change.
//
// A Disk is mounted by FUSE over a directory that keeps what is written, and runs
// in a process of its own: a program that uses its own mount can lock itself up,
// and this way the mount goes away in good order however its owner ends. For that
// the owner's main begins with Main.
//
// # What a power cut leaves
//
// The strict reading of POSIX, which promises less than any one file system:
//
//   - A file's content and size are what they were when it was last synced (fsync
//     or fdatasync). Close syncs nothing.
//   - A name in a directory (created, linked, renamed, removed) is what it was when
//     the directory was last synced. Syncing a file says nothing about its name:
//     ext4 and xfs keep the name of a new file that was synced, POSIX does not say so.
//   - A rename is atomic: it happened or it did not, also between two directories,
//     and is kept once either of them was synced. Changes of one name are kept in
//     their order.
//   - A sync that failed keeps nothing, and the sync after it does not make up for
//     it: the kernel takes pages that it failed to write for clean.
//   - Modes, owners and times are kept at once.
//
// A torn power cut keeps some of the rest besides: of each file a prefix of what
// was written, cut within a write, or any of its sectors (512 or 4096 bytes), the
// later ones without the earlier ones too, perhaps with the size of before; and of the names a prefix of the
// changes, in their order, as a journal of metadata does.
//
// What a program changes through a writable shared mapping is seen when the
// kernel writes it back. A file of which more than 64 MiB wait is written back, as
// a kernel does that needs the memory.
package lazyfs
