import type { Device } from '../lib/device/device.js';
import type { Row } from './report.js';

export async function overheadRows(_device: Device): Promise<Row[]> {
  return [];
}
