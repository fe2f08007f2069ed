@_exported import VditAttention
@_exported import VditBatch
@_exported import VditFiles
@_exported import VditMedia
@_exported import VditModels
@_exported import VditPipeline
@_exported import VditTensor
@_exported import VditText
