// Letting somebody into a chat: by name, with a link to send them. Loaded when somebody is invited.

import { trouble } from './receiving.js';

/** A word for the shell: whatever somebody is called, it stays one argument. */
const quoted = (word) => (/^[\w.@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** Lets somebody in, and says what to send them. */
export async function invite(chat) {
  const { current, view } = chat;
  const username = await view.dialog('ask', {
    title: 'Invite somebody',
    text: 'They see all of this chat, and write in it. Their name is the one that they sign in with.',
    label: 'Their name', confirm: 'Invite', most: 128,
  });
  if (!username) return;
  try {
    const answer = await chat.requests.ask({ type: 'invite', username });
    if (answer.type === 'error') return view.toast(trouble(answer), 'error');
  } catch (error) {
    return view.toast(`${username} was not invited: ${error.message}.`, 'error');
  }
  const link = (fragment) => new URL(`#${fragment}session=${current.id}`, location.href).href;
  await view.dialog('share', {
    title: `${username} can join now`,
    text: 'Send them this link. It opens this chat once they are signed in; it is in their list, too.',
    rows: [{ label: 'Link to this chat', value: link('') }],
    more: forNewcomers(chat, username, link),
  });
}

/** What somebody needs who has never signed in: an administrator makes it here, others ask whoever runs the server. */
function forNewcomers({ me, current, outside }, username, link) {
  const title = 'They have never signed in here?';
  if (!me.admin) {
    const text = 'Then they need a token, which whoever runs the server makes with this command. Send it within the link below, in the place of TOKEN: it signs them in and opens this chat.';
    return { title, text, rows: [{ label: 'Command, on the server', value: `causerie token --user ${quoted(username)}` }, { label: 'Link that signs in', value: link('token=TOKEN&') }] };
  }
  const run = async () => {
    const { path, expires_in: seconds } = await outside.signInLink(username, current.id);
    return { label: `Link that signs ${username} in, for ${Math.max(1, Math.round(seconds / 3600))} h`, value: new URL(path.replace(/^\//, ''), location.href).href };
  };
  const text = `Then send them a link that signs them in as ${username} and opens this chat. Whoever has it is ${username} here: send it to nobody else.`;
  return { title, text, rows: [], action: { label: 'Make the link', run } };
}
