// What runs before anything is painted, inside the document: the look that was chosen, and a way out where the page's scripts
// do not come.

document.documentElement.dataset.theme = localStorage.getItem('causerie.theme') ?? '';

/** A file that cannot be loaded, or a script that fails before the page is there: says so at once, instead of after a while. */
addEventListener('error', () => document.getElementById('splash')?.classList.add('failed'), true);

addEventListener('click', ({ target }) => target.id === 'reload' && location.reload());
