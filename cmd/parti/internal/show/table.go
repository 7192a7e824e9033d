package show

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/parti-go/parti/admin"
)

// A Column is one of a Table.
type Column struct {
	Name string
	// Right is for numbers.
	Right bool
	// Gives is for a column that is cut where the table is too wide, the widest
	// first; the others never are.
	Gives bool
	// Key is for a column that gives and says what the row is about: others are cut to
	// almost nothing before it is cut beyond recognition.
	Key bool
	// Maybe is for a column that people see only where something is in it.
	Maybe bool
	// Spare is for a column that people do without where the table is too wide: those of
	// the highest number first, those of none never.
	Spare int
	// For is whom it is for.
	For Reader
}

// A Reader is who reads a column.
type Reader uint8

// The readers.
const (
	Everybody Reader = iota
	People
	Programs
)

// A Cell is one field of a Table, for people and for programs.
type Cell struct {
	text, plain string
	paint       func(string) string
}

// Text is a cell that is the same for both.
func Text(text string) Cell { return Cell{text: text, plain: text} }

// Both is one that is not.
func Both(text, plain string) Cell { return Cell{text: text, plain: plain} }

// Count is a number.
func Count[N ~int | ~int64 | ~uint64](n N) Cell { return Cell{text: Number(n), plain: fmt.Sprint(n)} }

// Few is a number that is left out where it is zero, for people.
func Few[N ~int | ~int64 | ~uint64](n N) Cell {
	if n == 0 {
		return Cell{plain: "0"}
	}
	return Count(n)
}

// Took is a duration.
func Took(d time.Duration) Cell { return Cell{text: admin.Duration(d), plain: d.String()} }

// Ago is a moment that lies back; a zero one is empty.
func Ago(now, at time.Time) Cell {
	if at.IsZero() {
		return Cell{}
	}
	return Cell{text: admin.Past(now, at), plain: at.UTC().Format(time.RFC3339)}
}

// Painted is the cell in a colour.
func (c Cell) Painted(paint func(string) string) Cell {
	c.paint = paint
	return c
}

// A Table is rows under a header.
type Table struct {
	Columns []Column
	rows    [][]Cell
}

// Row adds a row. Cells that are missing at its end are empty.
func (t *Table) Row(cells ...Cell) { t.rows = append(t.rows, cells) }

// Len is how many rows there are.
func (t *Table) Len() int { return len(t.rows) }

// gap stands between columns.
const gap = "  "

// Lines are the table's lines. Those for programs have no header, tabs between the
// columns, and are not cut.
func (t *Table) Lines(look Look) []string {
	if look.Plain {
		t = t.with(func(_ int, c Column) bool { return c.For != People })
		lines := make([]string, len(t.rows))
		for i, row := range t.rows {
			fields := make([]string, len(row))
			for j := range fields {
				fields[j] = Clean(row[j].plain)
			}
			lines[i] = strings.Join(fields, "\t")
		}
		return lines
	}
	t = t.with(func(i int, c Column) bool { return c.For != Programs && (!c.Maybe || !t.empty(i)) }).fitting(look)
	widths := t.widths(look)
	header := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		header[i] = Text(c.Name)
	}
	lines := []string{look.Paint.Bold(strings.TrimRight(t.line(look.bare(), widths, header), " "))}
	for _, row := range t.rows {
		lines = append(lines, t.line(look, widths, row))
	}
	return lines
}

// empty says whether there is nothing in a column.
func (t *Table) empty(column int) bool {
	for _, row := range t.rows {
		if column < len(row) && row[column].text != "" {
			return false
		}
	}
	return true
}

// with is the table with some of its columns; its rows have a cell for each.
func (t *Table) with(keep func(int, Column) bool) *Table {
	some := &Table{rows: make([][]Cell, len(t.rows))}
	for i, c := range t.Columns {
		if !keep(i, c) {
			continue
		}
		some.Columns = append(some.Columns, c)
		for j, row := range t.rows {
			cell := Cell{}
			if i < len(row) {
				cell = row[i]
			}
			some.rows[j] = append(some.rows[j], cell)
		}
	}
	return some
}

// fitting is the table without so many of its spare columns that the rest need not be
// cut beyond recognition.
func (t *Table) fitting(look Look) *Table {
	for look.Width > 0 {
		total, most := len(gap)*(len(t.Columns)-1), 0
		for i, width := range t.natural(look) {
			c := t.Columns[i]
			if c.Gives {
				width = min(width, max(recognisable, len(c.Name)))
			}
			total += width
			most = max(most, c.Spare)
		}
		if total <= look.Width || most == 0 {
			break
		}
		t = t.with(func(_ int, c Column) bool { return c.Spare < most })
	}
	return t
}

// recognisable is how much of a text says what it is; cut is the least that is shown.
const (
	recognisable = 18
	cut          = 4
)

func (l Look) bare() Look {
	l.Paint = false
	return l
}

// line is one line of a table for people.
func (t *Table) line(look Look, widths []int, row []Cell) string {
	var b strings.Builder
	space := 0 // that is owed
	for i, c := range t.Columns {
		cell := row[i]
		text := look.Cut(cell.text, widths[i])
		pad := widths[i] - Width(text)
		if i > 0 {
			space += len(gap)
		}
		if c.Right {
			space += pad
			pad = 0
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", space))
			space = 0
			if cell.paint != nil && look.Paint {
				text = cell.paint(text)
			}
			b.WriteString(text)
		}
		space += pad
	}
	return b.String()
}

// natural is how wide the columns would be.
func (t *Table) natural(look Look) []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = Width(c.Name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], Width(look.Cut(row[i].text, math.MaxInt)))
		}
	}
	return widths
}

// widths are as wide as what is in the columns, unless that is wider than the
// screen: then those that give are cut, the widest first.
func (t *Table) widths(look Look) []int {
	widths := t.natural(look)
	total := len(gap) * (len(t.Columns) - 1)
	for _, width := range widths {
		total += width
	}
	for _, round := range []struct {
		least int
		keys  bool // are cut, too
	}{{recognisable, true}, {cut, false}, {cut, true}} {
		for ; look.Width > 0 && total > look.Width; total-- {
			widest := -1
			for i, c := range t.Columns {
				if c.Gives && (round.keys || !c.Key) && widths[i] > round.least && (widest < 0 || widths[i] > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
		}
	}
	return widths
}
