output "registry" {
  description = "Where operators and members reach the registry: ISTHMUS_REGISTRY."
  value       = trimsuffix(aws_lambda_function_url.registry.function_url, "/")
}

output "table" {
  value = aws_dynamodb_table.registry.name
}
