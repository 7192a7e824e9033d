// Keeps a page fresh, and adds keys. Everything works without it.

const least = 1000 // milliseconds between two fresh copies of a page
const pulse = document.getElementById('pulse')
const news = document.getElementById('news')

// Freshness: when the group was looked at, or only when something happened, as the page says,
// it is loaded again, and what has another text takes the place of what was there. The first
// sentence comes with the news itself.

const fresh = document.body.dataset.fresh

let last = 0
let timer = 0
let loading = false

async function refresh() {
  timer = 0
  if (document.hidden || loading) return
  loading = true
  last = Date.now()
  try {
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(15000) })
    if (!answer.ok) return
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
    for (const old of document.querySelectorAll('[data-live]')) {
      const now = page.getElementById(old.id)
      if (now && now.innerHTML !== old.innerHTML) replace(old, now)
    }
  } catch {
    // The stream says that the connection is lost, and begins again by itself.
  } finally {
    loading = false
  }
}

// replace keeps what has the focus, and what is selected, where they are.
function replace(old, now) {
  if (!document.getSelection().isCollapsed && old.contains(document.getSelection().anchorNode)) return
  const active = old.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null
  old.replaceChildren(...now.childNodes)
  if (active) old.querySelector(`a[href="${CSS.escape(active)}"]`)?.focus({ preventScroll: true })
}

function soon() {
  if (!timer) timer = setTimeout(refresh, Math.max(0, last + least - Date.now()))
}

function beat(text, how) {
  pulse.hidden = false
  pulse.textContent = text
  pulse.className = how
}

if (pulse) {
  const stream = new EventSource('live')
  stream.addEventListener('open', () => beat('live', 'live'))
  stream.addEventListener('error', () => beat('the console does not answer', 'lost'))
  stream.addEventListener('look', (e) => {
    const { sentence, mood, problem } = JSON.parse(e.data)
    const first = document.querySelector('.sentence')
    if (problem) {
      beat('the group does not answer', 'lost')
    } else {
      beat('live', 'live')
      if (first && first.textContent !== sentence) first.textContent = sentence
      if (first) first.className = `sentence ${mood}`
    }
    if (fresh === 'look') soon()
  })
  stream.addEventListener('happened', (e) => {
    news.textContent = JSON.parse(e.data).text
    if (fresh) soon()
  })
  stream.addEventListener('missed', () => { if (fresh) soon() })
  document.addEventListener('visibilitychange', () => { if (!document.hidden && fresh) soon() })
}

// Keys.

let leads = false // g was pressed, and says that a page comes next

document.addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return
  const field = e.target.closest('input, select, textarea')
  if (e.key === 'Escape') {
    field?.blur()
    leads = false
    return
  }
  if (field) return
  if (leads) {
    leads = false
    const page = document.querySelector(`nav a[data-key="${CSS.escape(e.key)}"]`)
    if (page) {
      e.preventDefault()
      page.click()
    }
    return
  }
  switch (e.key) {
    case 'g':
      leads = true
      break
    case '/': {
      const find = document.querySelector('main input:not([type=hidden])')
      if (find) {
        e.preventDefault()
        find.focus()
        find.select()
      } else {
        document.querySelector('nav a[data-key="p"]')?.click()
      }
      break
    }
    case 'j':
      step(1)
      break
    case 'k':
      step(-1)
      break
  }
})

// step moves the focus to the first link of the next row, or of the one before.
function step(by) {
  const all = [...document.querySelectorAll('tbody tr, .events li')].map((row) => row.querySelector('a')).filter(Boolean)
  const row = document.activeElement?.closest('tr, .events li')
  const at = all.findIndex((link) => row?.contains(link))
  all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by]?.focus()
}
