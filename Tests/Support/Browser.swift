import Foundation

/// A headless Chromium of the machine, driven through its DevTools protocol. It ends with its last reference, or with
/// the test process.
public final class Browser {
    /// Where one is installed.
    public static let program = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].lazy
        .compactMap(Installed.program).first

    /// What a page did while it was looked at.
    public struct Visit {
        /// What the script resolved to.
        public let value: [String: Any]
        /// Addresses asked for, `data:` left out.
        public let requests: [String]
        /// Messages of the console, uncaught errors, and what the browser itself complained of.
        public let complaints: [String]
    }

    struct Failed: Error, CustomStringConvertible { let description: String }

    private let process = Process()
    private let (input, output) = (Pipe(), Pipe())
    private let folder: TemporaryDirectory
    private var unread = Data()
    private var events: [[String: Any]] = []
    private var calls = 0
    private var session: String?

    public init() throws {
        folder = try TemporaryDirectory()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        // Chromium speaks on descriptors 3 and 4; a hung one must not hang the tests.
        process.arguments = [
            "-c", "exec timeout -k 5 120 \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", Self.program ?? "chromium",
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-breakpad", "--mute-audio",
            "--autoplay-policy=no-user-gesture-required", "--user-data-dir=\(folder.path("profile"))",
            "--remote-debugging-pipe", "about:blank",
        ]
        process.environment = ProcessInfo.processInfo.environment.merging(["HOME": folder.path]) { $1 }
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    deinit {
        _ = try? send("Browser.close", [:])
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// Opens a page in a tab of its own, and runs a script once all of it is there.
    ///
    /// - Parameter script: an expression; the promise of an object.
    public func visit(_ page: String, width: Int, height: Int, isDark: Bool = false, script: String) throws -> Visit {
        session = nil
        let target = try call("Target.createTarget", ["url": "about:blank"])["targetId"] as? String ?? ""
        session = try call("Target.attachToTarget", ["targetId": target, "flatten": true])["sessionId"] as? String
        for domain in ["Page", "Network", "Log", "Runtime"] { try call("\(domain).enable") }
        try call(
            "Emulation.setDeviceMetricsOverride",
            ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600])
        let scheme = ["name": "prefers-color-scheme", "value": isDark ? "dark" : "light"]
        try call("Emulation.setEmulatedMedia", ["features": [scheme]])
        events = []
        try call("Page.navigate", ["url": page])
        while !events.contains(where: { $0["method"] as? String == "Page.loadEventFired" }) { events.append(try read()) }
        let result = try call("Runtime.evaluate", ["expression": script, "awaitPromise": true, "returnByValue": true])
        if let thrown = result["exceptionDetails"] { throw Failed(description: "\(thrown)") }
        let visit = Visit(
            value: (result["result"] as? [String: Any])?["value"] as? [String: Any] ?? [:],
            requests: events.compactMap { event in
                guard event["method"] as? String == "Network.requestWillBeSent" else { return nil }
                let request = (event["params"] as? [String: Any])?["request"] as? [String: Any]
                return request?["url"] as? String
            }.filter { !$0.hasPrefix("data:") },
            complaints: events.filter {
                ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"].contains($0["method"] as? String)
            }.map { "\($0["params"] ?? "")" })
        session = nil
        try call("Target.closeTarget", ["targetId": target])
        return visit
    }

    @discardableResult
    private func call(_ method: String, _ parameters: [String: Any] = [:]) throws -> [String: Any] {
        let id = try send(method, parameters)
        while true {
            let message = try read()
            guard message["id"] as? Int == id else {
                events.append(message)
                continue
            }
            if let error = message["error"] { throw Failed(description: "\(method): \(error)") }
            return message["result"] as? [String: Any] ?? [:]
        }
    }

    @discardableResult
    private func send(_ method: String, _ parameters: [String: Any]) throws -> Int {
        calls += 1
        var message: [String: Any] = ["id": calls, "method": method, "params": parameters]
        message["sessionId"] = session
        try input.fileHandleForWriting.write(contentsOf: JSONSerialization.data(withJSONObject: message) + [0])
        return calls
    }

    private func read() throws -> [String: Any] {
        while true {
            if let end = unread.firstIndex(of: 0) {
                let message = unread[unread.startIndex..<end]
                unread = Data(unread[unread.index(after: end)...])
                return try JSONSerialization.jsonObject(with: message) as? [String: Any] ?? [:]
            }
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { throw Failed(description: "the browser ended") }
            unread.append(more)
        }
    }
}
