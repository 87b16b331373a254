import { WarptileError } from '../../lib/errors.js';

/** The WarptileError that `body` throws; anything else fails the test. */
export function errorOf(body: () => unknown): WarptileError {
  try {
    body();
  } catch (error) {
    if (error instanceof WarptileError) return error;
    throw error;
  }
  throw new Error('expected a WarptileError, nothing was thrown');
}

/** As `errorOf` for the rejection of a promise. */
export async function rejectionOf(promise: Promise<unknown>): Promise<WarptileError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof WarptileError) return error;
    throw error;
  }
  throw new Error('expected a WarptileError, the promise was kept');
}
