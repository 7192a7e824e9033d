// Keeps a page fresh, and adds keys. Everything works without it.

const least = 1000 // milliseconds between two fresh copies of a page
const again = 5000 // milliseconds until a stream that was refused is asked for again
const pulse = document.getElementById('pulse')
const news = document.getElementById('news')

// Freshness: when the group was looked at, or only when something happened, as the page says,
// it is loaded again, and what has another text takes the place of what was there. The first
// sentence comes with the news itself.

const fresh = document.body.dataset.fresh
let last = 0
let timer = 0
let loading = false
let missed = false // something happened while the page was loaded

async function refresh() {
  timer = 0
  if (document.hidden) return
  if (loading) {
    missed = true
    return
  }
  loading = true
  last = Date.now()
  try {
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(15000) })
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
    if (!answer.ok) {
      beat(page.querySelector('h1')?.textContent ?? answer.statusText, 'lost')
      return
    }
    for (const old of document.querySelectorAll('[data-live]')) {
      const now = page.getElementById(old.id)
      if (now && now.innerHTML !== old.innerHTML) replace(old, now)
    }
  } catch {
    // The stream says that the console does not answer, and asks again.
  } finally {
    loading = false
    if (missed) {
      missed = false
      soon()
    }
  }
}

// replace keeps what has the focus, and what is selected, where they are.
function replace(old, now) {
  const selection = document.getSelection()
  if (!selection.isCollapsed && old.contains(selection.anchorNode)) return
  const active = old.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null
  old.replaceChildren(...now.childNodes)
  if (active) old.querySelector(`a[href="${CSS.escape(active)}"]`)?.focus({ preventScroll: true })
}

function soon() {
  if (fresh && !timer) timer = setTimeout(refresh, Math.max(0, last + least - Date.now()))
}

function beat(text, how) {
  pulse.hidden = false
  pulse.textContent = text
  pulse.className = how
}

// A browser has six connections to a console, for all its pages: one that nobody sees has none.
let stream = null

function listen() {
  if (stream || document.hidden) return
  stream = new EventSource('live')
  stream.addEventListener('open', () => {
    beat('live', 'live')
    soon() // what happened since the page was made is not told
  })
  stream.addEventListener('error', () => {
    beat('the console does not answer', 'lost')
    if (stream.readyState === EventSource.CLOSED) {
      stream = null
      setTimeout(listen, again)
    }
  })
  stream.addEventListener('look', (e) => {
    const { sentence, mood, problem } = JSON.parse(e.data)
    if (problem) {
      beat('the group does not answer', 'lost')
    } else {
      beat('live', 'live')
      document.querySelector('.old')?.remove()
      const first = document.querySelector('.sentence')
      if (first) {
        if (first.textContent !== sentence) first.textContent = sentence
        first.className = `sentence ${mood}`
      }
    }
    if (fresh === 'look') soon()
  })
  stream.addEventListener('happened', (e) => {
    news.textContent = JSON.parse(e.data).text
    soon()
  })
  stream.addEventListener('missed', soon)
}

if (pulse) {
  listen()
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) {
      listen()
    } else if (stream) {
      stream.close()
      stream = null
    }
  })
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
