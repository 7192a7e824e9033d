package show

// Paint colours text, or leaves it alone. Colour never says what the words do not.
type Paint bool

func (p Paint) with(code, text string) string {
	if !p || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for what should be found at once.
func (p Paint) Bold(text string) string { return p.with("1", text) }

// Dim is for what may be overlooked.
func (p Paint) Dim(text string) string { return p.with("2", text) }

// Red is for what is broken or gone.
func (p Paint) Red(text string) string { return p.with("31", text) }

// Green is for what is well.
func (p Paint) Green(text string) string { return p.with("32", text) }

// Yellow is for what is on its way.
func (p Paint) Yellow(text string) string { return p.with("33", text) }

// Cyan is for who leads.
func (p Paint) Cyan(text string) string { return p.with("36", text) }
