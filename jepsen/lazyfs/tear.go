package lazyfs

import "math/rand/v2"

const sectorSize = 512

// forget makes the file what was synced of it, and of the rest what a torn power
// cut keeps; tear nil: nothing. It returns how many bytes are gone.
func (c *content) forget(tear *rand.Rand) (lost int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return 0, nil
	}
	defer c.close()
	kept := torn(c.changes, tear)
	if tear != nil && tear.IntN(4) == 0 {
		kept = within(kept, c.size)
	}
	lost = c.waiting
	if err := c.file.Truncate(c.size); err != nil {
		return 0, err
	}
	zero := make([]byte, blockSize)
	for b, block := range c.old {
		if block == nil {
			block = zero
		}
		off := b * blockSize
		if n := min(c.size-off, blockSize); n > 0 {
			if _, err := c.file.WriteAt(block[:n], off); err != nil {
				return 0, err
			}
		}
	}
	for _, ch := range kept {
		if ch.cut {
			err = c.file.Truncate(ch.off)
		} else {
			_, err = c.file.WriteAt(ch.data, ch.off)
			lost -= int64(len(ch.data))
		}
		if err != nil {
			return 0, err
		}
	}
	return lost, nil
}

// torn is what a torn power cut keeps of a file's changes.
func torn(changes []change, r *rand.Rand) []change {
	if r == nil || len(changes) == 0 {
		return nil
	}
	sector := []int64{sectorSize, blockSize}[r.IntN(2)]
	if r.IntN(2) == 0 { // a prefix, cut within a write
		n := r.IntN(len(changes))
		kept := append([]change(nil), changes[:n]...)
		pieces := changes[n].pieces(sector)
		return append(kept, pieces[:r.IntN(len(pieces)+1)]...)
	}
	var kept []change // any sectors
	share := r.Float64()
	for _, ch := range changes {
		for _, piece := range ch.pieces(sector) {
			if r.Float64() < share {
				kept = append(kept, piece)
			}
		}
	}
	return kept
}

// within is what is left of changes where the file's new size is lost: it is
// written apart from the content.
func within(changes []change, size int64) []change {
	var out []change
	for _, ch := range changes {
		if n := size - ch.off; !ch.cut && n > 0 {
			out = append(out, change{off: ch.off, data: ch.data[:min(n, int64(len(ch.data)))]})
		}
	}
	return out
}

// pieces are a change's sectors.
func (ch change) pieces(sector int64) []change {
	if ch.cut {
		return []change{ch}
	}
	var out []change
	for off, data := ch.off, ch.data; len(data) > 0; {
		n := min(sector-off%sector, int64(len(data)))
		out = append(out, change{off: off, data: data[:n]})
		off, data = off+n, data[n:]
	}
	return out
}
