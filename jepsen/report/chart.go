package report

import (
	"slices"
	"time"
)

const (
	chartWidth  = 1000.0
	chartHeight = 160.0
	laneHeight  = 16.0
)

// picture is the geometry of the page's drawing.
type picture struct {
	Width, Height, Base float64
	Bars                []bar
	Lanes               []lane
	Ticks               []tick
	Most                int // operations in the fullest second
}

type bar struct {
	X, Y, Width, Height float64
	Class               string // decided, unknown, refused
	Title               string
}

type lane struct {
	Name string
	Y    float64
	Bars []bar
}

type tick struct {
	X    float64
	Text string
}

// chart draws operations a second by what became of them, and the faults below.
func chart(r *Run) picture {
	seconds := int(r.Figures.Took/time.Second) + 1
	p := picture{Width: chartWidth, Base: chartHeight}
	width := chartWidth / float64(seconds)
	counts := make([][3]int, seconds)
	for i := range r.Ops {
		o := &r.Ops[i]
		at := int(o.End / time.Second)
		switch {
		case o.Decided():
			counts[at][0]++
		case o.Outcome == "refused":
			counts[at][1]++
		default:
			counts[at][2]++
		}
	}
	for _, c := range counts {
		p.Most = max(p.Most, c[0]+c[1]+c[2])
	}
	for s, c := range counts {
		y := chartHeight
		for i, class := range []string{"decided", "refused", "unknown"} {
			h := float64(c[i]) / float64(max(p.Most, 1)) * chartHeight
			y -= h
			p.Bars = append(p.Bars, bar{X: float64(s) * width, Y: y, Width: width, Height: h, Class: class})
		}
		if step := max(seconds/20, 1); s%step == 0 {
			p.Ticks = append(p.Ticks, tick{float64(s) * width, (time.Duration(s) * time.Second).String()})
		}
	}
	p.Lanes = lanes(r, width)
	p.Height = chartHeight + 20 + laneHeight*float64(len(p.Lanes)+1)
	return p
}

func lanes(r *Run, width float64) (out []lane) {
	for _, e := range r.Events {
		i := slices.IndexFunc(out, func(l lane) bool { return l.Name == e.Name })
		if i < 0 {
			i = len(out)
			out = append(out, lane{Name: e.Name, Y: chartHeight + 20 + laneHeight*float64(len(out))})
		}
		b := bar{
			X: e.Start.Seconds() * width, Y: out[i].Y, Width: max((e.End-e.Start).Seconds()*width, 2), Height: laneHeight - 4,
			Class: e.Class, Title: e.Name + " " + e.Detail,
		}
		if e.Error != "" {
			b.Title += ": " + e.Error
		}
		out[i].Bars = append(out[i].Bars, b)
	}
	return out
}
