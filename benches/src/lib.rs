//! Benchmarks of the core, the kernels, the engine and the server.
