package strategy

import (
	"slices"
	"testing"
)

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name           string
		kept, up, down []int64
		lost           []int64 // weights
		own            [][]int64
		weight         int64
		moves          int
	}{
		{"all is well", []int64{5, 5}, []int64{6, 6}, []int64{4, 4}, nil, nil, 0, 0},
		{"what is lost", []int64{5, 2}, []int64{6, 6}, []int64{4, 4}, []int64{2, 1}, nil, 3, 2},
		{"an excess", []int64{9, 4}, []int64{7, 7}, []int64{4, 4}, nil, [][]int64{{5, 3, 1}, {4}}, 2, 1},
		{"an excess of many small ones", []int64{9, 4}, []int64{7, 7}, []int64{4, 4}, nil, [][]int64{slices.Repeat([]int64{1}, 9), {4}}, 2, 2},
		{"a lack", []int64{6, 6, 0}, []int64{6, 6, 6}, []int64{3, 3, 3}, nil, [][]int64{{2, 2, 2}, {4, 2}, nil}, 3, 1},
		{"a lack that the lost fill", []int64{6, 6, 0}, []int64{6, 6, 6}, []int64{3, 3, 3}, []int64{3}, nil, 3, 1},
		{"a lack that the lost fill in part", []int64{6, 6, 0}, []int64{6, 6, 6}, []int64{3, 3, 3}, []int64{1}, [][]int64{{1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}, nil}, 3, 3},
		{"lost and excess", []int64{9, 0}, []int64{6, 6}, []int64{4, 4}, []int64{2}, [][]int64{{9}, nil}, 5, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w []int64
			lostW := int64(0)
			for _, l := range c.lost {
				lostW += l
			}
			lists, all := make([][]int32, len(c.own)), []int32(nil)
			for j, own := range c.own {
				for _, x := range own {
					lists[j] = append(lists[j], int32(len(w)))
					w = append(w, x)
				}
				all = append(all, lists[j]...)
			}
			sortHeavy(all, w)
			if got := weightBound(c.kept, c.up, c.down, lostW); got != c.weight {
				t.Errorf("weight %d, want %d", got, c.weight)
			}
			got := moveBound(w, c.kept, c.up, c.down, len(c.lost), lostW,
				func(j int) []int32 { return lists[j] }, func() []int32 { return all })
			if got != c.moves {
				t.Errorf("moves %d, want %d", got, c.moves)
			}
		})
	}
}

func TestPeakBound(t *testing.T) {
	for _, c := range []struct {
		w    []int64
		m    int
		want int64
	}{
		{[]int64{1, 1, 1, 1}, 2, 2},
		{[]int64{1, 1, 1, 1, 1}, 2, 3},  // rounded up
		{[]int64{9, 1, 1, 1}, 3, 9},     // the heaviest
		{[]int64{5, 5, 5, 1}, 2, 10},    // two of the first three
		{[]int64{4, 4, 4, 4, 4}, 2, 12}, // three of five
		{[]int64{7, 6, 6, 1, 1, 1}, 2, 12},
		{nil, 3, 0},
	} {
		ids := make([]int32, len(c.w))
		for k := range ids {
			ids[k] = int32(k)
		}
		if got := peakBound(ids, c.w, c.m); got != c.want {
			t.Errorf("%v on %d: %d, want %d", c.w, c.m, got, c.want)
		}
	}
}
