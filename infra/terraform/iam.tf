locals {
  # Exactly what the store calls: TransactWriteItems asks for the permissions of the writes in it.
  table_actions = [
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
  ]
}

resource "aws_iam_role" "registry" {
  name = "${var.name}-registry"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "registry" {
  name = "registry"
  role = aws_iam_role.registry.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Table"
        Effect   = "Allow"
        Action   = local.table_actions
        Resource = aws_dynamodb_table.registry.arn
      },
      {
        Sid      = "Root"
        Effect   = "Allow"
        Action   = ["kms:GetPublicKey", "kms:Sign"]
        Resource = aws_kms_key.root.arn
      },
      {
        Sid      = "Seal"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:Encrypt"]
        Resource = aws_kms_key.seal.arn
        # Only what the registry sealed, under the name it sealed it with.
        Condition = { "ForAllValues:StringEquals" = { "kms:EncryptionContextKeys" = ["isthmus"] } }
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.registry.arn}:*"
      },
    ]
  })
}
