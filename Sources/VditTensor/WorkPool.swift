import CVditKernels
import Glibc
import Synchronization

/// Memory one worker reuses from item to item.
///
/// Tensors taken from it are valid until the item ends; `reset` happens before the next one.
public final class Scratch {
    private var blocks: [Storage] = []
    private var block = 0
    private var used = 0
    private let isLocal: Bool

    /// - Parameter isLocal: whether memory lies on the node of who touches it first, whatever its thread's policy.
    public init(isLocal: Bool = false) { self.isLocal = isLocal }

    /// A tensor with arbitrary contents, 64-byte aligned, valid until the current item ends.
    public func tensor(_ dtype: DType, _ shape: [Int]) -> Tensor {
        let bytes = (shape.reduce(1, *) * dtype.byteCount + 63) & ~63
        while block < blocks.count, used + bytes > blocks[block].byteCount {
            block += 1
            used = 0
        }
        if block == blocks.count {
            blocks.append(storage(max(bytes, 1 << 20)))
            used = 0
        }
        defer { used += bytes }
        return Tensor(dtype, shape, storage: blocks[block], byteOffset: used)
    }

    func reset() {
        // One block that holds everything is friendlier to the caches than several.
        if blocks.count > 1 {
            blocks = [storage(blocks.reduce(0) { $0 + $1.byteCount })]
        }
        block = 0
        used = 0
    }

    /// Untouched yet: of 1 MiB at least, which comes in pages of its own.
    private func storage(_ bytes: Int) -> Storage {
        let storage = Storage(byteCount: bytes)
        if isLocal { _ = vdit_keep_memory_local(storage.base, bytes) }
        return storage
    }
}

/// The process's threads. Everything parallel runs here; numeric libraries run inside an item, on one thread.
///
/// Items are taken dynamically, so results must not depend on which worker runs an item: an item's output
/// is a function of its index alone. That is what makes every result independent of the thread count.
public final class WorkPool: Sendable {
    public let threads: Int
    /// Where the threads run; nil is wherever the system has them.
    public let places: WorkerPlaces?
    private let crew: Crew
    private let exclusive = Mutex<Void>(())
    /// Of the thread: whether what it asks of a pool it does itself.
    @TaskLocal fileprivate static var isAlone = false

    /// - Parameters:
    ///   - threads: worker threads including the caller's, at least 1.
    ///   - places: where they run, the caller's too as long as it works here.
    public init(threads: Int, places: WorkerPlaces? = nil) {
        precondition(threads >= 1)
        self.threads = threads
        self.places = places
        crew = Crew(threads, places)
    }

    deinit { crew.dismiss() }

    /// Runs `body` for every item in `0..<items`, in no particular order, and returns when all are done.
    ///
    /// `body` gets the item and the worker's scratch. If items throw, the error of the lowest item that
    /// ran and failed is thrown after all workers have stopped. From inside an item, everything is done on its thread.
    public func run<E: Error>(
        _ items: Int, _ body: @Sendable (Int, Scratch) throws(E) -> Void
    ) throws(E) {
        if items <= 0 { return }
        if Self.isAlone {
            let scratch = Scratch()
            for item in 0..<items {
                scratch.reset()
                try body(item, scratch)
            }
            return
        }
        let failure = Mutex<(item: Int, error: E)?>(nil)
        let failed = Atomic<Bool>(false)
        exclusive.withLock { _ in
            withoutActuallyEscaping(body) { body in
                crew.launch(items) { item, scratch in
                    if failed.load(ordering: .relaxed) { return }
                    do throws(E) {
                        try body(item, scratch)
                    } catch {
                        failed.store(true, ordering: .relaxed)
                        failure.withLock { if $0 == nil || item < $0!.item { $0 = (item, error) } }
                    }
                }
            }
        }
        if let first = failure.withLock({ $0 }) { throw first.error }
    }

    /// `body` of every index, in index order.
    package func map<T: Sendable, E: Error>(
        _ count: Int, _ body: @Sendable (Int, Scratch) throws(E) -> T
    ) throws(E) -> [T] {
        let results = Mutex([T?](repeating: nil, count: count))
        try run(count) { (index, scratch) throws(E) in
            let result = try body(index, scratch)
            results.withLock { $0[index] = result }
        }
        return results.withLock { $0.compactMap { $0 } }
    }

    /// Runs something on this thread where the first worker runs: memory that it touches lies as the workers' does.
    package func asFirstWorker<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
        guard let places else { return try body() }
        return try places.asWorker(0, body)
    }

    /// Runs something whose calls of `run` are to be done on this thread.
    static func alone(_ body: () -> Void) { $isAlone.withValue(true) { body() } }
}

/// What a pool and its threads share. Threads hold it and not the pool, which would else never go away.
private final class Crew: @unchecked Sendable {
    // Guarded by `lock`: job, generation, active, stopping. `next` is atomic. Scratch i belongs to worker i.
    private typealias Job = (Int, Scratch) -> Void
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let next = Atomic<Int>(0)
    private var job: Job?
    private var items = 0
    private var generation = 0
    private var active = 0
    private var stopping = false
    private var handles: [pthread_t] = []
    private let scratch: [Scratch]
    private let places: WorkerPlaces?

    init(_ threads: Int, _ places: WorkerPlaces?) {
        self.places = places
        scratch = (0..<threads).map { _ in Scratch(isLocal: places?.keepsScratchLocal ?? false) }
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(done, nil)
        serialNumericLibraries()
        for index in 1..<max(threads, 1) {
            let start = Unmanaged.passRetained(Start(crew: self, index: index))
            var handle = pthread_t()
            let status = pthread_create(
                &handle, nil,
                { argument in
                    let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                    serialNumericLibraries()
                    start.crew.asWorker(start.index) { start.crew.work(start.index) }
                    return nil
                }, start.toOpaque())
            if status == 0 { handles.append(handle) } else { start.release() }
        }
    }

    private final class Start {
        let crew: Crew
        let index: Int
        init(crew: Crew, index: Int) { (self.crew, self.index) = (crew, index) }
    }

    /// Ends the threads.
    func dismiss() {
        pthread_mutex_lock(lock)
        stopping = true
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(lock)
        for handle in handles { pthread_join(handle, nil) }
    }

    deinit {
        pthread_mutex_destroy(lock)
        pthread_cond_destroy(wake)
        pthread_cond_destroy(done)
        lock.deallocate()
        wake.deallocate()
        done.deallocate()
    }

    func launch(_ count: Int, _ work: (Int, Scratch) -> Void) {
        withoutActuallyEscaping(work) { work in
            next.store(0, ordering: .relaxed)
            if handles.isEmpty || count == 1 {
                items = count
                asWorker(0) { drain(work, 0) }
                return
            }
            pthread_mutex_lock(lock)
            job = work
            items = count
            generation += 1
            active = handles.count
            pthread_cond_broadcast(wake)
            pthread_mutex_unlock(lock)
            asWorker(0) { drain(work, 0) }
            pthread_mutex_lock(lock)
            while active > 0 { pthread_cond_wait(done, lock) }
            job = nil
            pthread_mutex_unlock(lock)
        }
    }

    /// Where this worker belongs.
    private func asWorker(_ worker: Int, _ body: () -> Void) {
        if let places { places.asWorker(worker, body) } else { body() }
    }

    private func drain(_ work: Job, _ worker: Int) {
        WorkPool.alone {
            while true {
                let item = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if item >= items { return }
                scratch[worker].reset()
                work(item, scratch[worker])
            }
        }
    }

    private func work(_ worker: Int) {
        var seen = 0
        pthread_mutex_lock(lock)
        while true {
            while generation == seen && !stopping { pthread_cond_wait(wake, lock) }
            if stopping { break }
            seen = generation
            let current = job
            pthread_mutex_unlock(lock)
            if let current { drain(current, worker) }
            pthread_mutex_lock(lock)
            active -= 1
            if active == 0 { pthread_cond_signal(done) }
        }
        pthread_mutex_unlock(lock)
    }
}

/// Results of the items of one `WorkPool.run`, each written by its own item.
///
/// `@unchecked Sendable`: distinct items write distinct slots, and reading waits for the run to end.
public final class ResultSlots<Value: Sendable>: @unchecked Sendable {
    private let slots: UnsafeMutableBufferPointer<Value?>

    public init(count: Int) {
        slots = .allocate(capacity: count)
        slots.initialize(repeating: nil)
    }

    deinit {
        slots.deinitialize()
        slots.deallocate()
    }

    public subscript(index: Int) -> Value? {
        get { slots[index] }
        set { slots[index] = newValue }
    }

    /// The values written, in item order.
    public var all: [Value] { slots.compactMap { $0 } }
}
