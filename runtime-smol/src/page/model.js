// What `/health` tells of the model, for people.

const megabytes = (bytes) => Math.round(bytes / 1e6).toLocaleString('en');

/**
 * What to show: `text`, `ready`, the model's `context` in tokens where the server tells it, and while one is fetched `progress`
 * from 0 to 1.
 */
export function modelOf(health) {
  const name = String(health.model?.name ?? health.model ?? '');
  const context = [health.context, health.model?.context].find((tokens) => Number.isInteger(tokens) && tokens > 0);
  if (health.status === 'ready') return { text: name, ready: true, context };
  const { bytes, total_bytes: total } = health;
  if (health.status === 'fetching' && bytes !== undefined) {
    const part = total ? bytes / total : undefined;
    const text = total ? `Fetching ${name}: ${megabytes(bytes)} of ${megabytes(total)} MB (${Math.floor(part * 100)} %)` : `Fetching ${name}: ${megabytes(bytes)} MB`;
    return { text, ready: false, progress: part };
  }
  return { text: health.message ?? 'No model is ready', ready: false };
}
