resource "aws_cloudwatch_log_group" "registry" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "registry" {
  function_name                  = var.name
  role                           = aws_iam_role.registry.arn
  runtime                        = var.runtime
  architectures                  = ["arm64"]
  handler                        = "lambda.handler"
  filename                       = var.package
  source_code_hash               = try(filebase64sha256(var.package), null)
  memory_size                    = var.memory_mb
  timeout                        = 15
  reserved_concurrent_executions = var.max_instances

  environment {
    variables = {
      ISTHMUS_FEDERATION         = var.federation
      ISTHMUS_ADMIN_TOKEN_SHA256 = var.admin_token_sha256
      ISTHMUS_DYNAMODB_TABLE     = aws_dynamodb_table.registry.name
      ISTHMUS_ROOT_KMS_KEY       = aws_kms_key.root.arn
      ISTHMUS_SEAL_KMS_KEY       = aws_kms_key.seal.arn
    }
  }

  depends_on = [aws_cloudwatch_log_group.registry]
}

# Open to the network: the registry itself asks every caller for a token or a signature.
resource "aws_lambda_function_url" "registry" {
  function_name      = aws_lambda_function.registry.function_name
  authorization_type = "NONE"
}

resource "aws_lambda_permission" "url" {
  statement_id           = "url"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = aws_lambda_function.registry.function_name
  principal              = "*"
  function_url_auth_type = "NONE"
}

# Clean-up. Nothing depends on when it runs, or whether.
resource "aws_cloudwatch_event_rule" "hourly" {
  name                = "${var.name}-hourly"
  schedule_expression = "rate(1 hour)"
}

resource "aws_cloudwatch_event_target" "hourly" {
  rule = aws_cloudwatch_event_rule.hourly.name
  arn  = aws_lambda_function.registry.arn
}

resource "aws_lambda_permission" "hourly" {
  statement_id  = "hourly"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.registry.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.hourly.arn
}
