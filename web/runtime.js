// onnxruntime-web with a model: on the GPU where that gives the numbers of WebAssembly, else with as many threads as allowed.

const LEAST = 60; // dB that stems by WebGPU must keep to those by WebAssembly, as tfswa_unet/export/parity.py asks
const MOST_THREADS = 8;
const FOLDER = new URL('./ort/', import.meta.url).href;

/** Open a model; gives `run`, from a mixture (c, t) in one array to stems (s, c, t) in one, and `how` it runs. */
export async function openModel(model, channels, rate) {
  const threads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  const wasm = await open('wasm', model, channels, threads);
  const found = { run: wasm.run, how: threads > 1 ? `WebAssembly, ${threads} threads` : 'WebAssembly, 1 thread' };
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter || adapter.info?.isFallbackAdapter) return found;
  try {
    const gpu = await open('webgpu', model, channels, 1);
    const mixture = noise(channels * rate);
    if (snr(await wasm.run(mixture), await gpu.run(mixture)) < LEAST) throw new Error('other numbers');
    await wasm.release();
    return { run: gpu.run, how: 'WebGPU' };
  } catch (error) {
    console.log(`WebGPU is there and not used: ${error.message}`);
    return found;
  }
}

async function open(provider, model, channels, threads) {
  const ort = await import(`./ort/ort.${provider}.min.mjs`);
  ort.env.wasm.wasmPaths = FOLDER;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const options = { executionProviders: [provider], logSeverityLevel: 3 }; // errors
  const session = await ort.InferenceSession.create(new Uint8Array(model), options);
  const run = async (mixture) => {
    const tensor = new ort.Tensor('float32', mixture, [1, channels, mixture.length / channels]);
    return (await session.run({ mixture: tensor })).stems.data;
  };
  return { run, release: () => session.release() };
}

/** The same noise each time, around −20 dB full scale. */
function noise(length) {
  let seed = 1;
  return Float32Array.from({ length }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return 0.3 * (seed / 2 ** 32 - 0.5);
  });
}

/** 10·log10(Σ r² / Σ (r − o)²) in dB; −∞ where the output has samples that are not finite. */
export function snr(reference, output) {
  let [signal, error] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    signal += reference[i] ** 2;
    error += (reference[i] - output[i]) ** 2;
  }
  return Number.isFinite(error) ? 10 * Math.log10(signal / error) : -Infinity;
}
