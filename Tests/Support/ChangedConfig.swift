import Foundation
import VDiT

extension ConfigFile {
    /// A golden configuration with one key changed; nil takes the key out.
    ///
    /// - Parameter folder: where the changed file is written.
    public init(golden: String, _ key: String, _ value: Any?, in folder: TemporaryDirectory) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path("\(golden)/config.json")))
        guard var object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
            throw CocoaError(.propertyListReadCorrupt)
        }
        object[key] = value
        let changed = try JSONSerialization.data(withJSONObject: object)
        try self.init(path: folder.write([UInt8](changed), "config.json"))
    }
}
