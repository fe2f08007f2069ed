import VditMedia
import VditPipeline
import VditTensor

/// The report of a comparison: `report.html` (one file, nothing from the network), `results.json`,
/// `results.csv`, pictures and side-by-side videos.
struct Report {
    let results: ComparisonResults
    let folder: String
    let frameRate: FrameRate

    /// Makes all of it from the lossless clips; what was there is replaced.
    func write(threads: Int) throws {
        try createDirectory("\(folder)/\(ReportFolder.pictures)")
        let clips = try results.clips.map {
            try ReportClip($0, folder: folder, frameRate: frameRate, threads: threads)
        }
        try save(try encodedJSON(results), "results.json")
        try save(Array(results.renderTable.csv.utf8), "results.csv")
        let page = try ReportPage(results: results, clips: clips, folder: folder).html
        try save(Array(page.utf8), "report.html")
    }

    private func save(_ bytes: [UInt8], _ name: String) throws {
        try AtomicFile.write(bytes, to: "\(folder)/\(name)", existing: .replace)
    }
}
